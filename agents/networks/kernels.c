/* The recurrence of networks over whole sequences and its gradients, float32 on one core. See kernels.py.

   Arrays are row-major. T time, B rows of a batch, I inputs, H units; P is H filled up with zeros to whole vectors.
   What is computed for a row does not depend, by so much as a bit, on the rows beside it. */

#include <string.h>

#if defined(__AVX512F__)
#define BYTES 64
#define CELL_ROWS 6 /* times 4 sums, of 32 registers */
#define TILE_ROWS 6
#define TILE_WIDTH 4
#elif defined(__AVX__)
#define BYTES 32
#define CELL_ROWS 3 /* of 16 registers */
#define TILE_ROWS 6
#define TILE_WIDTH 2
#else
#define BYTES 16
#define CELL_ROWS 3
#define TILE_ROWS 6
#define TILE_WIDTH 2
#endif
#define LANES (BYTES / 4)
#define DEPTH 64 /* of a product at once, so that what a tile reads over and over stays in the nearest cache */
#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(BYTES), aligned(4), may_alias));
typedef int veci __attribute__((vector_size(BYTES), aligned(4), may_alias));

INLINE vec load(const float *from, long count) {
    if (count >= LANES) return *(const vec *)from;
    vec found = {0};
    memcpy(&found, from, count * sizeof(float));
    return found;
}

INLINE void store(float *to, vec values, long count) {
    if (count >= LANES) *(vec *)to = values;
    else memcpy(to, &values, count * sizeof(float));
}

INLINE vec below(vec x, float most) { /* the lesser one; what is no number stays none */
    veci over = x > most;
    vec bound = (vec){0} + most;
    return (vec)((over & (veci)bound) | (~over & (veci)x));
}

INLINE vec exponential(vec x) { /* to 2 units in the last place for -87 < x < 87, the values at the ends beyond */
    x = -below(-below(x, 87.0f), 87.0f);
    vec shifted = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: a whole number is left in the last bits */
    vec whole = shifted - 12582912.0f;
    vec rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    vec series = rest * 1.9875691500e-4f + 1.3981999507e-3f;
    series = series * rest + 8.3334519073e-3f;
    series = series * rest + 4.1665795894e-2f;
    series = series * rest + 1.6666665459e-1f;
    series = series * rest + 5.0000001201e-1f;
    series = series * (rest * rest) + rest + 1.0f;
    return series * (vec)(((veci)shifted << 23) + (127 << 23));
}

INLINE vec sigmoid(vec x) { return 1.0f / (1.0f + exponential(-x)); }

INLINE vec hyperbolic_tangent(vec x) { return 2.0f / (1.0f + exponential(-2.0f * x)) - 1.0f; }

/* C[R, W vectors] += A[R, K] B[K, W vectors], element (r, k) of A at a[r * ar + k * ak]. */
INLINE void tile(const int R, const int W, long K, const float *a, long ar, long ak, const float *b, long bk, float *c,
                 long cr) {
    vec sum[TILE_ROWS][TILE_WIDTH];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int w = 0; w < W; w++) sum[r][w] = *(const vec *)(c + r * cr + w * LANES);
    for (long k = 0; k < K; k++) {
        vec row[TILE_WIDTH];
#pragma GCC unroll 8
        for (int w = 0; w < W; w++) row[w] = *(const vec *)(b + k * bk + w * LANES);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
#pragma GCC unroll 8
            for (int w = 0; w < W; w++) sum[r][w] += a[r * ar + k * ak] * row[w];
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int w = 0; w < W; w++) *(vec *)(c + r * cr + w * LANES) = sum[r][w];
}

INLINE void tile_rows(const int W, long rows, long K, const float *a, long ar, long ak, const float *b, long bk,
                      float *c, long cr) {
    switch (rows) {
        case 1: tile(1, W, K, a, ar, ak, b, bk, c, cr); break;
        case 2: tile(2, W, K, a, ar, ak, b, bk, c, cr); break;
        case 3: tile(3, W, K, a, ar, ak, b, bk, c, cr); break;
        case 4: tile(4, W, K, a, ar, ak, b, bk, c, cr); break;
        case 5: tile(5, W, K, a, ar, ak, b, bk, c, cr); break;
        default: tile(TILE_ROWS, W, K, a, ar, ak, b, bk, c, cr);
    }
}

/* C[M, N] += A[M, K] B[K, N]; N is whole vectors. */
static void add_product(long M, long N, long K, const float *a, long ar, long ak, const float *b, long bk, float *c,
                        long cr) {
    for (long from = 0; from < K; from += DEPTH) {
        long depth = K - from < DEPTH ? K - from : DEPTH;
        for (long n = 0; n < N; n += TILE_WIDTH * LANES) {
            long wide = (N - n) / LANES;
            for (long m = 0; m < M; m += TILE_ROWS) {
                long rows = M - m < TILE_ROWS ? M - m : TILE_ROWS;
                const float *left = a + m * ar + from * ak, *right = b + from * bk + n;
                float *to = c + m * cr + n;
                switch (wide) {
                    case 1: tile_rows(1, rows, depth, left, ar, ak, right, bk, to, cr); break;
#if TILE_WIDTH > 2
                    case 2: tile_rows(2, rows, depth, left, ar, ak, right, bk, to, cr); break;
                    case 3: tile_rows(3, rows, depth, left, ar, ak, right, bk, to, cr); break;
#endif
                    default: tile_rows(TILE_WIDTH, rows, depth, left, ar, ak, right, bk, to, cr);
                }
            }
        }
    }
}

/* Numbers in a vector: what tensors that are filled up to P columns are filled up to. */
long lanes(void) { return LANES; }

/* ---- GRU ---------------------------------------------------------------------------------------------------------
   r = sigmoid(x Wr + h Ur + b)   z = sigmoid(x Wz + h Uz + b)   n = tanh(x Wn + b + r (h Un + c))   h' = n + z (h - n)

   Weights wx [3H, I], wh [3H, H] and biases bx, bh [3H] as torch's nn.GRU has them. */

/* One step of R rows in the LANES units from one on, of which the first `count` exist.
   `panel`: [H + I, 3, LANES] weights of these units, then [4, LANES] biases of r, z, n and h Un. */
INLINE void cell(const int R, long I, long H, long P, long count, const float *x, const float *h, const float *panel,
                 const float *before, float *after, float *gates) {
    vec r[CELL_ROWS], z[CELL_ROWS], n[CELL_ROWS], u[CELL_ROWS];
    const vec *w = (const vec *)(panel + (H + I) * 3 * LANES);
#pragma GCC unroll 8
    for (int i = 0; i < R; i++) r[i] = w[0], z[i] = w[1], n[i] = w[2], u[i] = w[3];
    w = (const vec *)panel;
    for (long k = 0; k < H; k++, w += 3) {
        vec wr = w[0], wz = w[1], wu = w[2];
#pragma GCC unroll 8
        for (int i = 0; i < R; i++) {
            float value = h[i * H + k];
            r[i] += value * wr;
            z[i] += value * wz;
            u[i] += value * wu;
        }
    }
    for (long k = 0; k < I; k++, w += 3) {
        vec wr = w[0], wz = w[1], wn = w[2];
#pragma GCC unroll 8
        for (int i = 0; i < R; i++) {
            float value = x[i * I + k];
            r[i] += value * wr;
            z[i] += value * wz;
            n[i] += value * wn;
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < R; i++) {
        vec reset = sigmoid(r[i]), keep = sigmoid(z[i]), fresh = hyperbolic_tangent(n[i] + reset * u[i]);
        store(after + i * H, fresh + keep * (load(before + i * H, count) - fresh), count);
        if (gates) {
            vec *kept = (vec *)(gates + i * 4 * P);
            kept[0] = reset;
            kept[P / LANES] = keep;
            kept[2 * P / LANES] = fresh;
            kept[3 * P / LANES] = u[i];
        }
    }
}

/* `panel` [P / LANES, (H + I) * 3 + 4, LANES] is filled from the weights. */
static void gru_panels(long I, long H, long P, const float *wx, const float *wh, const float *bx, const float *bh,
                       float *panel) {
    memset(panel, 0, P * ((H + I) * 3 + 4) * sizeof(float));
    for (long unit = 0; unit < H; unit++) {
        float *own = panel + unit / LANES * ((H + I) * 3 + 4) * LANES + unit % LANES;
        for (long g = 0; g < 3; g++) {
            const float *row = wh + (g * H + unit) * H;
            for (long k = 0; k < H; k++) own[(k * 3 + g) * LANES] = row[k];
            row = wx + (g * H + unit) * I;
            for (long k = 0; k < I; k++) own[((H + k) * 3 + g) * LANES] = row[k];
        }
        own += (H + I) * 3 * LANES;
        own[0] = bx[unit] + bh[unit];
        own[LANES] = bx[H + unit] + bh[H + unit];
        own[2 * LANES] = bx[2 * H + unit];
        own[3 * LANES] = bh[2 * H + unit];
    }
}

/* states [T, B, H] from x [T, B, I] and memory [B, H], which restart [T, B] (or NULL) sets to zero before a step.
   previous [T, B, H] is what every step began with; without restarts previous[t + 1] and states[t] are one place.
   gates [T, B, 4, P] (or NULL) is what `gru_backward` needs; panel is room for P * ((H + I) * 3 + 4) numbers. */
void gru_forward(long T, long B, long I, long H, const float *x, const float *memory, const unsigned char *restart,
                 const float *wx, const float *wh, const float *bx, const float *bh, float *panel, float *previous,
                 float *states, float *gates) {
    long P = (H + LANES - 1) / LANES * LANES, size = ((H + I) * 3 + 4) * LANES;
    gru_panels(I, H, P, wx, wh, bx, bh, panel);
    for (long t = 0; t < T; t++, x += B * I, previous += B * H, states += B * H) {
        const float *last = t ? states - B * H : memory;
        if (restart || !t)
            for (long row = 0; row < B; row++) {
                if (restart && restart[t * B + row]) memset(previous + row * H, 0, H * sizeof(float));
                else memcpy(previous + row * H, last + row * H, H * sizeof(float));
            }
        for (long unit = 0; unit < H; unit += LANES) {
            const float *own = panel + unit / LANES * size;
            long count = H - unit;
            for (long row = 0; row < B; row += CELL_ROWS) {
                const float *in = x + row * I, *h = previous + row * H;
                float *out = states + row * H + unit, *kept = gates ? gates + (t * B + row) * 4 * P + unit : 0;
                switch (B - row) {
                    case 1: cell(1, I, H, P, count, in, h, own, h + unit, out, kept); break;
                    case 2: cell(2, I, H, P, count, in, h, own, h + unit, out, kept); break;
#if CELL_ROWS > 3
                    case 3: cell(3, I, H, P, count, in, h, own, h + unit, out, kept); break;
                    case 4: cell(4, I, H, P, count, in, h, own, h + unit, out, kept); break;
                    case 5: cell(5, I, H, P, count, in, h, own, h + unit, out, kept); break;
#endif
                    default: cell(CELL_ROWS, I, H, P, count, in, h, own, h + unit, out, kept);
                }
            }
        }
    }
}

/* Gradients of sum(states * slope), slope [T, B, H]: dwx [3H, I], dwh [3H, H], dbx and dbh [3H]. dmemory [B, P] is that
   of the memory. steps holds the gradients [B, 4P] of the sums that n, r, z and u = h Un + c are made of: of every step,
   `apart` numbers apart, or of the first one alone where apart is 0. room is for P * (4 + 3 (P + H + I)) numbers. */
void gru_backward(long T, long B, long I, long H, const float *x, const unsigned char *restart, const float *wh,
                  const float *previous, const float *gates, const float *slope, float *room, float *steps, long apart,
                  float *dwx, float *dwh, float *dbx, float *dbh, float *dmemory) {
    long P = (H + LANES - 1) / LANES * LANES;
    float *weights = room, *dh = weights + 3 * P * P, *dx = dh + 3 * P * H, *db = dx + 3 * P * I;
    memset(room, 0, P * (4 + 3 * (P + H + I)) * sizeof(float));
    memset(dmemory, 0, B * P * sizeof(float));
    for (long g = 0; g < 3; g++)
        for (long unit = 0; unit < H; unit++)
            memcpy(weights + (g * P + unit) * P, wh + (g * H + unit) * H, H * sizeof(float));
    for (long t = T - 1; t >= 0; t--) {
        float *step = steps + t * apart;
        const float *before = previous + t * B * H;
        for (long unit = 0; unit < P; unit += LANES) {
            vec sum[4] = {{0}, {0}, {0}, {0}};
            long count = H - unit;
            for (long row = 0; row < B; row++) {
                const vec *kept = (const vec *)(gates + (t * B + row) * 4 * P + unit);
                vec r = kept[0], z = kept[P / LANES], n = kept[2 * P / LANES], u = kept[3 * P / LANES];
                vec *carry = (vec *)(dmemory + row * P + unit);
                vec d = load(slope + (t * B + row) * H + unit, count) + *carry;
                vec dn = d * (1.0f - z) * (1.0f - n * n);
                vec dr = dn * u * r * (1.0f - r);
                vec dz = d * (load(before + row * H + unit, count) - n) * z * (1.0f - z);
                vec du = dn * r;
                *carry = d * z;
                vec *to = (vec *)(step + row * 4 * P + unit);
                to[0] = dn, to[P / LANES] = dr, to[2 * P / LANES] = dz, to[3 * P / LANES] = du;
                sum[0] += dn, sum[1] += dr, sum[2] += dz, sum[3] += du;
            }
            for (long g = 0; g < 4; g++) *(vec *)(db + g * P + unit) += sum[g];
        }
        add_product(B, P, 3 * P, step + P, 4 * P, 1, weights, P, dmemory, P);
        add_product(H, 3 * P, B, before, 1, H, step + P, 4 * P, dh, 3 * P);
        add_product(I, 3 * P, B, x + t * B * I, 1, I, step, 4 * P, dx, 3 * P);
        if (restart)
            for (long row = 0; row < B; row++)
                if (restart[t * B + row]) memset(dmemory + row * P, 0, P * sizeof(float));
    }
    for (long g = 0; g < 3; g++) { /* from columns n, r, z and r, z, u to rows r, z, n */
        long from = (g + 1) % 3;
        for (long unit = 0; unit < H; unit++) {
            for (long k = 0; k < I; k++) dwx[(g * H + unit) * I + k] = dx[(k * 3 + from) * P + unit];
            for (long k = 0; k < H; k++) dwh[(g * H + unit) * H + k] = dh[(k * 3 + g) * P + unit];
        }
        memcpy(dbx + g * H, db + from * P, H * sizeof(float));
        memcpy(dbh + g * H, db + (g + 1) * P, H * sizeof(float));
    }
}
