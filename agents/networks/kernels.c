/* What updates of small networks would spend most of their time on, float32 on one core. See kernels.py.

   Arrays are row-major. T time, B rows of a batch, I inputs, H units; P is H filled up with zeros to whole vectors.
   What is computed for a row does not depend, by so much as a bit, on the rows beside it.

   Longer than most files here: what is compiled into each other stands in one. */

#include <math.h>
#include <sched.h>
#include <string.h>
#include <time.h>

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
#define UP(size) (((size) + LANES - 1) / LANES * LANES)
#define DEPTH 64 /* of a product at once, so that what a tile reads over and over stays in the nearest cache */
#define TURN 8 /* longs in a cache line */
#if defined(__x86_64__) || defined(__i386__)
#define PAUSE __builtin_ia32_pause()
#else
#define PAUSE __atomic_signal_fence(__ATOMIC_SEQ_CST)
#endif
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

INLINE vec lesser(vec x, vec y) { /* x, where that is no number */
    veci over = x > y;
    return (vec)((over & (veci)y) | (~over & (veci)x));
}

INLINE vec between(float least, vec x, float most) {
    vec zero = {0};
    return -lesser(-lesser(x, zero + most), zero - least);
}

INLINE float total(vec x) { /* by halves */
    float part[LANES];
    memcpy(part, &x, sizeof(x));
#pragma GCC unroll 8
    for (int half = LANES / 2; half; half /= 2)
#pragma GCC unroll 16
        for (int i = 0; i < half; i++) part[i] += part[i + half];
    return part[0];
}

INLINE float largest(vec x) {
    float part[LANES];
    memcpy(part, &x, sizeof(x));
#pragma GCC unroll 8
    for (int half = LANES / 2; half; half /= 2)
#pragma GCC unroll 16
        for (int i = 0; i < half; i++) part[i] = part[i] > part[i + half] ? part[i] : part[i + half];
    return part[0];
}

INLINE vec exponential(vec x) { /* to 2 units in the last place for -87 < x < 88; 0 below -88, infinite above 89 */
    x = between(-88.0f, x, 89.0f);
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

/* ---- Narrow layers -------------------------------------------------------------------------------------------------
   out [N, A] = x [N, F] w [A, F]^T + b, where F is whole vectors and A small: BLAS is not made for that. */

/* room: for (F + N) UP(A) numbers. */
void narrow_forward(long N, long F, long A, const float *x, const float *w, const float *b, float *room, float *out) {
    long wide = UP(A);
    float *across = room, *sums = room + F * wide;
    memset(room, 0, (F + N) * wide * sizeof(float));
    for (long f = 0; f < F; f++)
        for (long a = 0; a < A; a++) across[f * wide + a] = w[a * F + f];
    memcpy(sums, b, A * sizeof(float));
    for (long n = wide; n < N * wide; n += LANES) *(vec *)(sums + n) = *(vec *)(sums + n % wide);
    add_product(N, wide, F, x, F, 1, across, wide, sums, wide);
    for (long n = 0; n < N; n++) /* whole vectors: what is too much the next row writes over */
        for (long a = 0; a < A; a += LANES)
            store(out + n * A + a, *(vec *)(sums + n * wide + a), n * A + a + LANES <= N * A ? LANES : A - a);
}

/* Gradients of sum(out * slope): added to dx [N, F], dw [A, F] and db [A]. */
void narrow_backward(long N, long F, long A, const float *x, const float *w, const float *slope, float *dx, float *dw,
                     float *db) {
    add_product(N, F, A, slope, A, 1, w, F, dx, F);
    add_product(A, F, N, slope, 1, A, x, F, dw, F);
    for (long n = 0; n < N; n++)
        for (long a = 0; a < A; a++) db[a] += slope[n * A + a];
}

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
    long P = UP(H), size = ((H + I) * 3 + 4) * LANES;
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
    long P = UP(H);
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

/* ---- Fast weights ---------------------------------------------------------------------------------------------------
   S' = keep S + k [v, 1]^T   s = q S'   out = [s_v / (1 + s_1), log(1 + s_1)]   with q and k softmaxes of what is given

   H heads with K keys and V values each. parts [T, B, H (K + K + V)] are queries, keys, values of all heads; memory
   [B, H, K, V + 1]; keep [H]; out [T, B, H, V + 1]; restart [T, B] (or NULL) empties S before a step. */

/* The softmax of `size` numbers; zeros up to whole vectors. */
INLINE void softmax(long size, const float *from, float *to) {
    vec top = {0}, sum = {0};
    top += from[0];
    for (long i = 0; i + LANES <= size; i += LANES) top = -lesser(-top, -*(const vec *)(from + i));
    float most = largest(top);
    for (long i = size / LANES * LANES; i < size; i++) most = from[i] > most ? from[i] : most;
    for (long i = 0; i < size; i += LANES) {
        vec e = exponential(load(from + i, size - i) - most);
        *(vec *)(to + i) = e;
        for (long lane = size; lane < i + LANES; lane++) to[lane] = 0;
        sum += *(vec *)(to + i);
    }
    sum = 1.0f / ((vec){0} + total(sum));
    for (long i = 0; i < size; i += LANES) *(vec *)(to + i) *= sum;
}

INLINE float dot(long size, const float *x, const float *y) { /* of whole vectors */
    vec sum = {0};
    for (long i = 0; i < size; i += LANES) sum += *(const vec *)(x + i) * *(const vec *)(y + i);
    return total(sum);
}

INLINE void read_forward(long T, long B, long H, const long K, const long V, const float *parts, const float *memory,
                         const unsigned char *restart, const float *keep, float *room, float *out, float *after) {
    long wide = UP(V), high = UP(K), width = H * (2 * K + V);
    float *stored = room, *count = stored + K * wide, *q = count + high, *k = q + high;
    for (long b = 0; b < B; b++)
        for (long h = 0; h < H; h++) {
            const float *own = memory + (b * H + h) * K * (V + 1);
            memset(room, 0, (K * wide + high) * sizeof(float));
            for (long i = 0; i < K; i++) {
                memcpy(stored + i * wide, own + i * (V + 1), V * sizeof(float));
                count[i] = own[i * (V + 1) + V];
            }
            for (long t = 0; t < T; t++) {
                const float *given = parts + (t * B + b) * width, *value = given + 2 * H * K + h * V;
                float *to = out + ((t * B + b) * H + h) * (V + 1);
                if (restart && restart[t * B + b]) memset(room, 0, (K * wide + high) * sizeof(float));
                softmax(K, given + h * K, q);
                softmax(K, given + (H + h) * K, k);
                for (long i = 0; i < high; i += LANES)
                    *(vec *)(count + i) = *(vec *)(count + i) * keep[h] + *(vec *)(k + i);
                float evidence = dot(high, q, count);
                for (long j = 0; j < V; j += LANES) {
                    vec v = load(value + j, V - j), even = {0}, odd = {0};
                    float *row = stored + j;
                    for (long i = 0; i < K; i += 2, row += 2 * wide) {
                        *(vec *)row = *(vec *)row * keep[h] + k[i] * v;
                        even += q[i] * *(vec *)row;
                        if (i + 1 == K) break;
                        *(vec *)(row + wide) = *(vec *)(row + wide) * keep[h] + k[i + 1] * v;
                        odd += q[i + 1] * *(vec *)(row + wide);
                    }
                    store(to + j, (even + odd) / (1.0f + evidence), V - j);
                }
                to[V] = log1pf(evidence);
            }
            if (!after) continue;
            for (long i = 0; i < K; i++, after += V + 1) {
                memcpy(after, stored + i * wide, V * sizeof(float));
                after[V] = count[i];
            }
        }
}

INLINE void read_backward(long T, long B, long H, const long K, const long V, const float *parts, const float *memory,
                          const unsigned char *restart, const float *keep, const float *out, const float *slope,
                          float *room, float *dparts, float *dmemory, float *dkeep) {
    long wide = UP(V), high = UP(K), width = H * (2 * K + V), size = (V + 1) * high;
    float *states = room, *across = states + (T + 1) * size, *along = across + size, *softened = along + K * wide;
    float *value = softened + 2 * T * high, *ds = value + wide + LANES, *dq = ds + wide + LANES, *dk = dq + high;
    memset(room, 0, (dk + high - room) * sizeof(float)); /* values by rows of keys: [V + 1, UP(K)] */
    for (long b = 0; b < B; b++)
        for (long h = 0; h < H; h++) {
            const float *own = memory + (b * H + h) * K * (V + 1);
            for (long i = 0; i < K; i++)
                for (long j = 0; j <= V; j++) states[j * high + i] = own[i * (V + 1) + j];
            for (long t = 0; t < T; t++) {
                const float *given = parts + (t * B + b) * width, *v = given + 2 * H * K + h * V;
                float *q = softened + 2 * t * high, *k = q + high, *last = states + t * size, *next = last + size;
                float kept = restart && restart[t * B + b] ? 0 : keep[h];
                softmax(K, given + h * K, q);
                softmax(K, given + (H + h) * K, k);
                for (long j = 0; j <= V; j++) {
                    float one = j < V ? v[j] : 1;
                    for (long i = 0; i < high; i += LANES)
                        *(vec *)(next + j * high + i) = *(vec *)(last + j * high + i) * kept + one * *(vec *)(k + i);
                }
            }
            memset(across, 0, (size + K * wide) * sizeof(float)); /* gradients of S, by rows of keys and of values */
            vec of_keep = {0};
            for (long t = T - 1; t >= 0; t--) {
                long place = (t * B + b) * width + 2 * H * K + h * V;
                const float *from = slope + ((t * B + b) * H + h) * (V + 1), *found = out + (from - slope);
                float *q = softened + 2 * t * high, *k = q + high, *last = states + t * size, *next = last + size;
                float scale = 1.0f / (1.0f + dot(high, q, next + V * high));
                int cut = restart && restart[t * B + b];
                vec less = {0};
                for (long j = 0; j < V; j += LANES) {
                    vec d = load(from + j, V - j);
                    less += d * load(found + j, V - j);
                    *(vec *)(ds + j) = d * scale;
                    *(vec *)(value + j) = load(parts + place + j, V - j);
                }
                value[V] = 1, ds[V] = (from[V] - total(less)) * scale;
                for (long i = 0; i < high; i += LANES) {
                    vec of_query = {0}, of_key = {0}, of_kept = {0}, query = *(vec *)(q + i);
                    for (long j = 0; j <= V; j++) {
                        vec *slot = (vec *)(across + j * high + i);
                        *slot = *slot * keep[h] + ds[j] * query;
                        of_query += ds[j] * *(vec *)(next + j * high + i);
                        of_key += value[j] * *slot;
                        of_kept += *slot * *(vec *)(last + j * high + i);
                    }
                    if (!cut) of_keep += of_kept;
                    *(vec *)(dq + i) = of_query, *(vec *)(dk + i) = of_key;
                }
                float less_q = dot(high, q, dq), less_k = dot(high, k, dk);
                for (long i = 0; i < high; i += LANES) {
                    long query = (t * B + b) * width + h * K + i;
                    store(dparts + query, *(vec *)(q + i) * (*(vec *)(dq + i) - less_q), K - i);
                    store(dparts + query + H * K, *(vec *)(k + i) * (*(vec *)(dk + i) - less_k), K - i);
                }
                for (long j = 0; j < V; j += LANES) {
                    vec of_value = {0}, d = load(ds + j, V - j);
                    for (long i = 0; i < K; i++) {
                        vec *slot = (vec *)(along + i * wide + j);
                        *slot = *slot * keep[h] + q[i] * d;
                        of_value += k[i] * *slot;
                    }
                    store(dparts + place + j, of_value, V - j);
                }
                if (cut) memset(across, 0, (size + K * wide) * sizeof(float));
            }
            dkeep[h] += total(of_keep);
            float *to = dmemory + (b * H + h) * K * (V + 1);
            for (long i = 0; i < K; i++)
                for (long j = 0; j <= V; j++) to[i * (V + 1) + j] = keep[h] * across[j * high + i];
        }
}

/* after: the memory after the last step, or NULL. room: for K UP(V) + 3 UP(K) numbers. */
void fast_weights_forward(long T, long B, long H, long K, long V, const float *parts, const float *memory,
                          const unsigned char *restart, const float *keep, float *room, float *out, float *after) {
    if (K == 16 && V == 16) /* as they are where nobody says otherwise: loops of known length */
        read_forward(T, B, H, 16, 16, parts, memory, restart, keep, room, out, after);
    else read_forward(T, B, H, K, V, parts, memory, restart, keep, room, out, after);
}

/* Gradients of sum(out * slope), of parts, memory and keep; dkeep [H] is zeros at first.
   room: for (T + 2) (V + 1) UP(K) + K UP(V) + 2 T UP(K) + 2 (UP(V) + LANES) + 2 UP(K) numbers. */
void fast_weights_backward(long T, long B, long H, long K, long V, const float *parts, const float *memory,
                           const unsigned char *restart, const float *keep, const float *out, const float *slope,
                           float *room, float *dparts, float *dmemory, float *dkeep) {
    if (K == 16 && V == 16)
        read_backward(T, B, H, 16, 16, parts, memory, restart, keep, out, slope, room, dparts, dmemory, dkeep);
    else read_backward(T, B, H, K, V, parts, memory, restart, keep, out, slope, room, dparts, dmemory, dkeep);
}

/* ---- PPO's losses of discrete actions ------------------------------------------------------------------------------
   Of N rows: logits [N, A], value, action, the log-probability `old` that it was drawn with, advantage, target of the
   value and weight, each [N]. `room` is for 2 A * LANES numbers. */

typedef struct {
    vec weight, ratio, advantage, plain, clipped, error, entropy, kl, log_total;
    int action[LANES];
} played;

/* Of LANES rows, or the `count` there are; others weigh nothing. `share` [A, LANES] becomes the probabilities,
   `excess` [A, LANES] the logits less the largest one. */
INLINE played look(long count, long A, float clip, const float *logits, const float *value, const long *action,
                   const float *old, const float *advantage, const float *target, const float *weight, float *share,
                   float *excess) {
    played d = {.weight = load(weight, count), .advantage = load(advantage, count), .action = {0}};
    float most[LANES] = {0}, chosen[LANES] = {0}, logarithm[LANES];
    if (count > LANES) count = LANES;
    memset(excess, 0, A * LANES * sizeof(float));
    for (long i = 0; i < count; i++) {
        const float *row = logits + i * A;
        d.action[i] = 0 <= action[i] && action[i] < A ? action[i] : -1;
        chosen[i] = d.action[i] < 0 ? NAN : row[action[i]], most[i] = row[0];
        for (long a = 0; a < A; a++) {
            excess[a * LANES + i] = row[a];
            if (!(row[a] <= most[i])) most[i] = row[a];
        }
    }
    vec total = {0}, mean = {0}, top = *(vec *)most;
    for (long a = 0; a < A; a++) {
        vec x = *(vec *)(excess + a * LANES) - top, e = exponential(x);
        *(vec *)(excess + a * LANES) = x, *(vec *)(share + a * LANES) = e;
        total += e, mean += e * x;
    }
    for (long a = 0; a < A; a++) *(vec *)(share + a * LANES) /= total;
    for (int i = 0; i < LANES; i++) logarithm[i] = logf(total[i]);
    d.log_total = *(vec *)logarithm;
    d.entropy = d.log_total - mean / total;
    vec difference = *(vec *)chosen - top - d.log_total - load(old, count);
    d.ratio = exponential(difference);
    d.kl = d.ratio - 1.0f - difference;
    d.plain = d.ratio * d.advantage;
    d.clipped = between(1.0f - clip, d.ratio, 1.0f + clip) * d.advantage;
    d.error = load(value, count) - load(target, count);
    return d;
}

/* sums [4], by weight: the negated clipped surrogate, squared errors of values, the entropy, the approximate divergence
   from the policy that was drawn from. Returns how many actions are none of the A. */
int ppo_forward(long N, long A, double clip, const float *logits, const float *value, const long *action,
                 const float *old, const float *advantage, const float *target, const float *weight, float *room,
                 float *sums) {
    vec sum[4] = {{0}, {0}, {0}, {0}};
    int strange = 0;
    for (long i = 0; i < N; i += LANES) {
        played d = look(N - i, A, clip, logits + i * A, value + i, action + i, old + i, advantage + i, target + i,
                        weight + i, room, room + A * LANES);
        sum[0] -= d.weight * lesser(d.plain, d.clipped);
        sum[1] += d.weight * d.error * d.error;
        sum[2] += d.weight * d.entropy;
        sum[3] += d.weight * d.kl;
        for (int row = 0; row < LANES; row++) strange += d.action[row] < 0;
    }
    for (int s = 0; s < 4; s++) {
        sums[s] = total(sum[s]);
    }
    return strange;
}

/* Gradients of the first three sums times slope [4]: of logits [N, A] and of values [N]. */
void ppo_backward(long N, long A, double clip, const float *logits, const float *value, const long *action,
                  const float *old, const float *advantage, const float *target, const float *weight, float *room,
                  const float *slope, float *dlogits, float *dvalue) {
    for (long i = 0; i < N; i += LANES) {
        long count = N - i < LANES ? N - i : LANES;
        played d = look(N - i, A, clip, logits + i * A, value + i, action + i, old + i, advantage + i, target + i,
                        weight + i, room, room + A * LANES);
        store(dvalue + i, slope[1] * 2.0f * d.weight * d.error, count);
        vec held = (vec)(~(d.plain > d.clipped) & (veci)(-slope[0] * d.weight * d.plain)), spread = slope[2] * d.weight;
        for (long a = 0; a < A; a++) {
            vec p = *(vec *)(room + a * LANES), x = *(vec *)(room + (A + a) * LANES);
            vec d_logit = -p * (held + spread * (x - d.log_total + d.entropy));
            for (long row = 0; row < count; row++) dlogits[(i + row) * A + a] = d_logit[row];
        }
        for (long row = 0; row < count; row++) dlogits[(i + row) * A + d.action[row]] += held[row];
    }
}

/* Process `rank` of W has come to `turn`; waits until all have, for a second or so. Whether some have not. What a process
   wrote before it came is seen by all who met it. `turns` are a cache line apart, in memory that they share. */
int meet(long rank, long W, long turn, long *turns) {
    const struct timespec nap = {0, 50000};
    __atomic_store_n(turns + rank * TURN, turn, __ATOMIC_RELEASE);
    for (long other = 0, tries = 0; other < W; tries++) {
        if (__atomic_load_n(turns + other * TURN, __ATOMIC_ACQUIRE) >= turn) other++;
        else if (tries > 24000) return 1;
        else if (tries > 4000) nanosleep(&nap, 0);
        else if (tries > 2000) sched_yield();
        else PAUSE;
    }
    return 0;
}
