// Poses the head, carries the Gaussians on its triangles and sorts them by depth.
// The same steps as recon/field.py and studio/kernels/drive_reference.py; lengths in metres, in the head frame.
"use strict";

const ROW = 16; // floats of a Gaussian: x y z opacity | covariance xx xy xz yy | yz zz red green | blue - - -
const CHANNELS = 11; // corrections of position, rotation, colour, opacity
const LEAST_STRETCH = 0.6, MOST_STRETCH = 1.7, NEAR = 0.01;
let model = null;

onmessage = ({ data }) => {
  if (data.header) {
    model = open(data.header, data.bytes);
    return;
  }
  if (data.codes) carry(model, pose(model, data.codes), basisWeights(model, data.codes), data.codes);
  const rows = data.rows && data.rows.length === model.rows.length ? data.rows : new Float32Array(model.rows.length);
  const count = sorted(model, data.view, rows);
  postMessage({ rows, count }, [rows.buffer]);
};

/** Arrays by name; those in 16 bits become numbers again, bases stay bytes until they are weighted. */
function open(header, bytes) {
  const kinds = { f4: Float32Array, u4: Uint32Array, u2: Uint16Array, u1: Uint8Array, i2: Int16Array };
  const arrays = {};
  for (const [name, item] of Object.entries(header.arrays)) {
    const stored = new kinds[item.kind](bytes, item.offset, item.length);
    if (!item.low) {
      arrays[name] = stored;
      continue;
    }
    const width = item.low.length, values = new Float32Array(item.length);
    for (let i = 0; i < item.length; i++) values[i] = item.low[i % width] + item.step[i % width] * stored[i];
    arrays[name] = values;
  }
  const result = { ...header, ...arrays, vertices: new Float32Array(arrays.template.length) };
  result.rows = new Float32Array(ROW * header.gaussians);
  result.depths = new Float32Array(header.gaussians);
  result.keys = new Uint16Array(header.gaussians);
  result.order = new Uint32Array(header.gaussians);
  result.restArea = restAreas(result);
  return result;
}

function restAreas({ template, corners, gaussians }) {
  const areas = new Float32Array(gaussians);
  for (let n = 0; n < gaussians; n++) {
    areas[n] = Math.max(frame(template, corners, n, new Float32Array(9)), 1e-12);
  }
  return areas;
}

/** The area of a Gaussian's triangle; tangent, bitangent, normal go into ``axes``. */
function frame(points, corners, n, axes) {
  const a = 3 * corners[3 * n], b = 3 * corners[3 * n + 1], c = 3 * corners[3 * n + 2];
  const ex = points[b] - points[a], ey = points[b + 1] - points[a + 1], ez = points[b + 2] - points[a + 2];
  const fx = points[c] - points[a], fy = points[c + 1] - points[a + 1], fz = points[c + 2] - points[a + 2];
  let nx = ey * fz - ez * fy, ny = ez * fx - ex * fz, nz = ex * fy - ey * fx;
  const twice = Math.sqrt(nx * nx + ny * ny + nz * nz), length = Math.max(Math.sqrt(ex * ex + ey * ey + ez * ez), 1e-12);
  const k = 1 / Math.max(twice, 1e-12), tx = ex / length, ty = ey / length, tz = ez / length;
  nx *= k; ny *= k; nz *= k;
  axes[0] = tx; axes[1] = ny * tz - nz * ty; axes[2] = nx;
  axes[3] = ty; axes[4] = nz * tx - nx * tz; axes[5] = ny;
  axes[6] = tz; axes[7] = nx * ty - ny * tx; axes[8] = nz;
  return 0.5 * twice;
}

/** Blendshapes, then linear blend skinning; ``codes`` are expression and joints as in Codes.vector. */
function pose(m, codes) {
  const rest = Float32Array.from(m.template), channels = m.channels.length;
  for (let e = 0; e < channels; e++) {
    const amount = codes[e] * m.moveScales[e];
    if (amount === 0) continue;
    for (let i = m.moveFirst[e]; i < m.moveFirst[e + 1]; i++) {
      const v = 3 * m.moveVertices[i];
      rest[v] += amount * m.moves[3 * i];
      rest[v + 1] += amount * m.moves[3 * i + 1];
      rest[v + 2] += amount * m.moves[3 * i + 2];
    }
  }
  const joints = m.pivots.length / 3, t = jointTransforms(m, codes), out = m.vertices;
  for (let v = 0; v < rest.length / 3; v++) {
    const x = rest[3 * v], y = rest[3 * v + 1], z = rest[3 * v + 2];
    let px = 0, py = 0, pz = 0;
    for (let j = 0; j < joints; j++) {
      const w = m.skin[joints * v + j], o = 12 * j;
      if (w === 0) continue;
      px += w * (t[o] * x + t[o + 1] * y + t[o + 2] * z + t[o + 3]);
      py += w * (t[o + 4] * x + t[o + 5] * y + t[o + 6] * z + t[o + 7]);
      pz += w * (t[o + 8] * x + t[o + 9] * y + t[o + 10] * z + t[o + 11]);
    }
    out[3 * v] = px; out[3 * v + 1] = py; out[3 * v + 2] = pz;
  }
  return out;
}

/** What each joint does to its points, 3 x 4 row by row: turns are linear in the codes. */
function jointTransforms(m, codes) {
  const joints = m.pivots.length / 3, out = new Float32Array(12 * joints), width = 3 * joints;
  const turns = new Float32Array(width);
  for (let i = 0; i < codes.length; i++) for (let k = 0; k < width; k++) turns[k] += codes[i] * m.turns[width * i + k];
  const shift = m.channels.length + m.neckTranslation;
  for (let j = 0; j < joints; j++) {
    const R = rotation(turns[3 * j], turns[3 * j + 1], turns[3 * j + 2]);
    for (let r = 0; r < 3; r++) {
      const p = m.pivots.subarray(3 * j, 3 * j + 3);
      const moved = R[3 * r] * p[0] + R[3 * r + 1] * p[1] + R[3 * r + 2] * p[2];
      out.set(R.subarray(3 * r, 3 * r + 3), 12 * j + 4 * r);
      out[12 * j + 4 * r + 3] = p[r] - moved + (j === m.torso ? codes[shift + r] : 0);
    }
  }
  return out;
}

function rotation(x, y, z) {
  const angle = Math.hypot(x, y, z), k = angle < 1e-6 ? 1 - angle * angle / 6 : Math.sin(angle) / angle;
  const c = Math.cos(angle), h = angle < 1e-4 ? 0.5 : (1 - c) / (angle * angle);
  return Float32Array.of(
    c + h * x * x, h * x * y - k * z, h * x * z + k * y,
    h * x * y + k * z, c + h * y * y, h * y * z - k * x,
    h * x * z - k * y, h * y * z + k * x, c + h * z * z,
  );
}

/** The small networks: how much each part of the head takes of each basis, [P * K]. */
function basisWeights(m, codes) {
  const seen = new Float32Array(m.low.length);
  for (let d = 0; d < seen.length; d++) {
    let sum = 0;
    for (let i = 0; i < codes.length; i++) sum += (codes[i] - m.mean[i]) * m.projection[seen.length * i + d];
    seen[d] = Math.min(Math.max(sum, m.low[d]), m.high[d]);
  }
  const out = new Float32Array(m.parts * m.bases);
  let first = 0;
  for (let p = 0; p < m.parts; p++) {
    let x = seen.subarray(first, first + m.sizes[p]);
    first += m.sizes[p];
    for (let layer = 0; layer < 3; layer++) {
      const W = m[`network${p}/${layer}/weight`], b = m[`network${p}/${layer}/bias`], y = new Float32Array(b.length);
      for (let r = 0; r < b.length; r++) {
        let sum = b[r];
        for (let i = 0; i < x.length; i++) sum += W[x.length * r + i] * x[i];
        y[r] = layer < 2 ? sum / (1 + Math.exp(-sum)) : Math.tanh(sum);
      }
      x = y;
    }
    out.set(x, p * m.bases);
  }
  return out;
}

/** Gaussians of the posed mesh, into m.rows. */
function carry(m, vertices, weights) {
  const { bases, parts, gains, corners, bary } = m, corrected = new Float32Array(CHANNELS);
  const slope = new Float32Array(parts * bases * CHANNELS), start = new Float32Array(parts * CHANNELS);
  for (let p = 0; p < parts; p++) {
    for (let k = 0; k < bases; k++) {
      for (let c = 0; c < CHANNELS; c++) {
        const w = weights[p * bases + k];
        slope[(p * bases + k) * CHANNELS + c] = w * m.basisStep[k * CHANNELS + c];
        start[p * CHANNELS + c] += w * m.basisLow[k * CHANNELS + c];
      }
    }
  }
  const axes = new Float32Array(9), M = new Float32Array(9), rows = m.rows, stored = m.basisCodes, width = bases * CHANNELS;
  for (let n = 0; n < m.gaussians; n++) {
    const p = m.part[n], from = p * width, at = n * width;
    // Eleven sums written out: as a loop they take three times as long.
    let c0 = 0, c1 = 0, c2 = 0, c3 = 0, c4 = 0, c5 = 0, c6 = 0, c7 = 0, c8 = 0, c9 = 0, c10 = 0;
    for (let k = 0; k < width; k += CHANNELS) {
      const i = from + k, j = at + k;
      c0 += slope[i] * stored[j]; c1 += slope[i + 1] * stored[j + 1]; c2 += slope[i + 2] * stored[j + 2];
      c3 += slope[i + 3] * stored[j + 3]; c4 += slope[i + 4] * stored[j + 4]; c5 += slope[i + 5] * stored[j + 5];
      c6 += slope[i + 6] * stored[j + 6]; c7 += slope[i + 7] * stored[j + 7]; c8 += slope[i + 8] * stored[j + 8];
      c9 += slope[i + 9] * stored[j + 9]; c10 += slope[i + 10] * stored[j + 10];
    }
    const s = p * CHANNELS;
    corrected[0] = start[s] + c0; corrected[1] = start[s + 1] + c1; corrected[2] = start[s + 2] + c2;
    corrected[3] = start[s + 3] + c3; corrected[4] = start[s + 4] + c4; corrected[5] = start[s + 5] + c5;
    corrected[6] = start[s + 6] + c6; corrected[7] = start[s + 7] + c7; corrected[8] = start[s + 8] + c8;
    corrected[9] = start[s + 9] + c9; corrected[10] = start[s + 10] + c10;
    const area = frame(vertices, corners, n, axes);
    const stretch = Math.min(Math.max(Math.sqrt(area / m.restArea[n]), LEAST_STRETCH), MOST_STRETCH);
    const size = gains.unit * stretch, o = ROW * n;
    const u = bary[2 * n], v = bary[2 * n + 1], w = 1 - u - v;
    const a = 3 * corners[3 * n], b = 3 * corners[3 * n + 1], c = 3 * corners[3 * n + 2];
    const dx = size * (m.offsets[3 * n] + gains.position * corrected[0]);
    const dy = size * (m.offsets[3 * n + 1] + gains.position * corrected[1]);
    const dz = size * (m.offsets[3 * n + 2] + gains.position * corrected[2]);
    for (let r = 0; r < 3; r++) {
      const origin = u * vertices[a + r] + v * vertices[b + r] + w * vertices[c + r];
      rows[o + r] = origin + axes[3 * r] * dx + axes[3 * r + 1] * dy + axes[3 * r + 2] * dz;
    }
    rows[o + 3] = 1 / (1 + Math.exp(-(m.opacityLogits[n] + gains.opacity * corrected[10])));
    turnAndStretch(m, n, size, axes, corrected, M);
    rows[o + 4] = M[0] * M[0] + M[1] * M[1] + M[2] * M[2];
    rows[o + 5] = M[0] * M[3] + M[1] * M[4] + M[2] * M[5];
    rows[o + 6] = M[0] * M[6] + M[1] * M[7] + M[2] * M[8];
    rows[o + 7] = M[3] * M[3] + M[4] * M[4] + M[5] * M[5];
    rows[o + 8] = M[3] * M[6] + M[4] * M[7] + M[5] * M[8];
    rows[o + 9] = M[6] * M[6] + M[7] * M[7] + M[8] * M[8];
    for (let i = 0; i < 3; i++) rows[o + 10 + i] = Math.max(0, m.colors[3 * n + i] + gains.color * corrected[7 + i]);
  }
}

/** Length of a quaternion; Math.hypot takes many times as long. */
function norm(w, x, y, z) {
  return Math.sqrt(w * w + x * x + y * y + z * z);
}

/** M = triangle's frame * Gaussian's rotation * sizes, whose square is the covariance. */
function turnAndStretch(m, n, size, axes, corrected, M) {
  const q = m.quats, g = m.gains.rotation, k = 1 / norm(q[4 * n], q[4 * n + 1], q[4 * n + 2], q[4 * n + 3]);
  let w = q[4 * n] * k + g * corrected[3], x = q[4 * n + 1] * k + g * corrected[4];
  let y = q[4 * n + 2] * k + g * corrected[5], z = q[4 * n + 3] * k + g * corrected[6];
  const s = 1 / norm(w, x, y, z);
  w *= s; x *= s; y *= s; z *= s;
  for (let i = 0; i < 3; i++) {
    const c0 = i === 0 ? 1 - 2 * (y * y + z * z) : i === 1 ? 2 * (x * y - w * z) : 2 * (x * z + w * y);
    const c1 = i === 0 ? 2 * (x * y + w * z) : i === 1 ? 1 - 2 * (x * x + z * z) : 2 * (y * z - w * x);
    const c2 = i === 0 ? 2 * (x * z - w * y) : i === 1 ? 2 * (y * z + w * x) : 1 - 2 * (x * x + y * y);
    const long = size * Math.min(m.gains.largest, Math.exp(m.logScales[3 * n + i]));
    for (let r = 0; r < 3; r++) M[3 * r + i] = long * (axes[3 * r] * c0 + axes[3 * r + 1] * c1 + axes[3 * r + 2] * c2);
  }
}

/** Rows in drawing order, the farthest first, and how many are in front of the camera (counting sort, 16 bits). */
function sorted(m, view, out) {
  const { rows, depths, keys, order, gaussians } = m;
  let low = Infinity, high = -Infinity;
  for (let n = 0; n < gaussians; n++) {
    const o = ROW * n, z = view[8] * rows[o] + view[9] * rows[o + 1] + view[10] * rows[o + 2] + view[11];
    depths[n] = z;
    if (z >= NEAR) { low = Math.min(low, z); high = Math.max(high, z); }
  }
  const counts = new Uint32Array(65537), scale = 65535 / Math.max(high - low, 1e-9);
  let count = 0;
  for (let n = 0; n < gaussians; n++) {
    if (depths[n] < NEAR) continue;
    keys[n] = 65535 - Math.round((depths[n] - low) * scale);
    counts[keys[n] + 1]++;
    count++;
  }
  for (let i = 1; i < counts.length; i++) counts[i] += counts[i - 1];
  for (let n = 0; n < gaussians; n++) if (depths[n] >= NEAR) order[counts[keys[n]]++] = n;
  for (let i = 0; i < count; i++) {
    const from = ROW * order[i], to = ROW * i;
    for (let c = 0; c < 13; c++) out[to + c] = rows[from + c];
  }
  return count;
}
