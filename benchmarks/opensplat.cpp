// Hands OpenSplat's CPU functions to Python; compiled beside a checkout of OpenSplat, see benchmarks/README.md.
#include <memory>
#include <torch/extension.h>

#include "gsplat-cpu/bindings.h"

struct Lists {  // which Gaussians each pixel blended
    std::unique_ptr<std::vector<int32_t>[]> pixels;
};

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
    pybind11::class_<Lists, std::shared_ptr<Lists>>(module, "Lists");
    module.def("project", &project_gaussians_forward_tensor_cpu);
    module.def("rasterize", [](int width, int height, at::Tensor xys, at::Tensor conics, at::Tensor colors,
                               at::Tensor opacities, at::Tensor background, at::Tensor cov2d, at::Tensor depths) {
        auto [image, transmittance, lists] = rasterize_forward_tensor_cpu(
            width, height, xys, conics, colors, opacities, background, cov2d, depths);
        auto owner = std::make_shared<Lists>();
        owner->pixels.reset(lists);
        return std::make_tuple(image, transmittance, owner);
    });
    module.def("rasterize_backward",
               [](int width, int height, at::Tensor xys, at::Tensor conics, at::Tensor colors, at::Tensor opacities,
                  at::Tensor background, at::Tensor cov2d, at::Tensor depths, at::Tensor transmittance, std::shared_ptr<Lists> lists,
                  at::Tensor v_image, at::Tensor v_alpha) {
                   return rasterize_backward_tensor_cpu(height, width, xys, conics, colors, opacities, background,
                                                        cov2d, depths, transmittance, lists->pixels.get(), v_image, v_alpha);
               });
}
