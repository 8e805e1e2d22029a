"""Reading and writing of images, video and sound, on imageio, PyAV and SciPy."""
