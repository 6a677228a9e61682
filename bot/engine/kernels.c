/* What a step does besides large matrix products, for rows of fp32 on a CPU: products with very few
 * rows, adapters, rotation, attention of decoding rows, the gated activation, and sums with their
 * normalisation. Each is one pass over memory. `kernels.py` compiles this, calls it and says what the arguments are; threads are those
 * of the OpenMP that torch has loaded. Nothing is assumed finite: a NaN goes through.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
/* One copy for each width of the vector registers; the processor's own is taken when loading. */
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif
#define INLINE static inline __attribute__((always_inline))

#define BLOCK 64     /* positions whose scores are held at a time */
#define ALONE 16384  /* numbers below which one thread is faster than waking others */

/* e^x with a relative error of about 1e-7, for x <= 0: Cephes' polynomial. */
INLINE float exponential(float x)
{
    x = x < -87.0f ? -87.0f : x;
    float whole = rintf(x * 1.44269504f);
    float rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    float y = 1.9875691500e-4f;
    y = y * rest + 1.3981999507e-3f;
    y = y * rest + 8.3334519073e-3f;
    y = y * rest + 4.1665795894e-2f;
    y = y * rest + 1.6666665459e-1f;
    y = y * rest + 5.0000001201e-1f;
    y = y * rest * rest + rest + 1.0f;
    int32_t bits = ((int32_t)whole + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return y * power;
}

/* The query heads of one row that share a key head: block by block, so that keys and values are
 * read once; what was summed shrinks when a larger score is found (Milakov & Gimelshein 2018). */
INLINE void attend_any(const float *q, const float *k, const float *v, float *out, int64_t length,
                       int64_t group, int64_t width, float scale)
{
    float most[group], sum[group], p[BLOCK];
    for (int64_t g = 0; g < group; g++) {
        most[g] = -INFINITY;
        sum[g] = 0;
    }
    memset(out, 0, sizeof(float) * group * width);
    for (int64_t at = 0; at < length; at += BLOCK) {
        int64_t n = length - at < BLOCK ? length - at : BLOCK;
        for (int64_t g = 0; g < group; g++) {
            const float *asked = q + g * width;
            float *found = out + g * width;
            float top = most[g];
            for (int64_t j = 0; j < n; j++) {
                const float *key = k + (at + j) * width;
                float s = 0;
#pragma omp simd reduction(+ : s)
                for (int64_t d = 0; d < width; d++)
                    s += asked[d] * key[d];
                p[j] = s * scale;
                top = p[j] > top ? p[j] : top;
            }
            float shrink = at ? exponential(most[g] - top) : 0, total = 0;
#pragma omp simd reduction(+ : total)
            for (int64_t j = 0; j < n; j++) {
                p[j] = exponential(p[j] - top);
                total += p[j];
            }
#pragma omp simd
            for (int64_t d = 0; d < width; d++)
                found[d] *= shrink;
            for (int64_t j = 0; j < n; j++) {
                const float *value = v + (at + j) * width;
                float share = p[j];
#pragma omp simd
                for (int64_t d = 0; d < width; d++)
                    found[d] += share * value[d];
            }
            sum[g] = sum[g] * shrink + total;
            most[g] = top;
        }
    }
    for (int64_t g = 0; g < group; g++)
        for (int64_t d = 0; d < width; d++)
            out[g * width + d] /= sum[g];
}

CLONES static void attend_one(const float *q, const float *k, const float *v, float *out,
                              int64_t length, int64_t group, int64_t width, float scale)
{
    /* Loops of a known length are unrolled. */
    if (width == 64 && group == 1)
        attend_any(q, k, v, out, length, 1, 64, scale);
    else if (width == 64)
        attend_any(q, k, v, out, length, group, 64, scale);
    else if (width == 128)
        attend_any(q, k, v, out, length, group, 128, scale);
    else
        attend_any(q, k, v, out, length, group, width, scale);
}

void attend(const float *q, int64_t q_row, const float *new_k, int64_t new_k_row,
            const float *new_v, int64_t new_v_row, float *k, float *v, int64_t row, int64_t head,
            const int64_t *positions, float *out, int64_t rows, int64_t heads, int64_t group,
            int64_t width, float scale)
{
    int64_t last = 0;
    for (int64_t r = 0; r < rows; r++)
        last = positions[r] > last ? positions[r] : last;
#pragma omp parallel for collapse(2) schedule(dynamic) if (rows * heads * last * width > ALONE)
    for (int64_t r = 0; r < rows; r++)
        for (int64_t h = 0; h < heads; h++) {
            int64_t place = r * row + h * head, at = positions[r];
            memcpy(k + place + at * width, new_k + r * new_k_row + h * width, 4 * width);
            memcpy(v + place + at * width, new_v + r * new_v_row + h * width, 4 * width);
            attend_one(q + r * q_row + h * group * width, k + place, v + place,
                       out + (r * heads + h) * group * width, at + 1, group, width, scale);
        }
}

#define OUTPUTS 16 /* of a product that one thread finds at a time */

/* Four outputs at a time for each row, so that what is read of the row is used four times. */
CLONES static void multiply_some(const float *x, const float *weight, float *out, int64_t rows,
                                 int64_t inner, int64_t outer, int64_t from, int64_t to)
{
    int64_t o = from;
    for (; o + 4 <= to; o += 4) {
        const float *a = weight + o * inner, *b = a + inner, *c = b + inner, *d = c + inner;
        for (int64_t r = 0; r < rows; r++) {
            const float *own = x + r * inner;
            float p = 0, q = 0, s = 0, t = 0;
#pragma omp simd reduction(+ : p, q, s, t)
            for (int64_t i = 0; i < inner; i++) {
                p += a[i] * own[i];
                q += b[i] * own[i];
                s += c[i] * own[i];
                t += d[i] * own[i];
            }
            float *found = out + r * outer + o;
            found[0] = p, found[1] = q, found[2] = s, found[3] = t;
        }
    }
    for (; o < to; o++)
        for (int64_t r = 0; r < rows; r++) {
            float p = 0;
#pragma omp simd reduction(+ : p)
            for (int64_t i = 0; i < inner; i++)
                p += weight[o * inner + i] * x[r * inner + i];
            out[r * outer + o] = p;
        }
}

void multiply(const float *x, const float *weight, float *out, int64_t rows, int64_t inner,
              int64_t outer)
{
#pragma omp parallel for if (inner * outer > ALONE)
    for (int64_t o = 0; o < outer; o += OUTPUTS)
        multiply_some(x, weight, out, rows, inner, outer, o,
                      o + OUTPUTS < outer ? o + OUTPUTS : outer);
}

/* A panel has 16 outputs, [inner][16]: each number of a row meets 16 weights that lie in one run,
 * and 8 rows at a time use what is read of the weights. */
#define PANEL 16
#define ROWS 8
#define NEAR 24576 /* numbers */
typedef float lanes __attribute__((vector_size(4 * PANEL), aligned(4)));

INLINE void panel_rows(const float *x, const float *panel, float *out, int64_t inner,
                       int64_t outer, int64_t width, const int rows)
{
    lanes sums[ROWS];
    for (int r = 0; r < rows; r++)
        sums[r] = (lanes){0};
    for (int64_t i = 0; i < inner; i++) {
        lanes weights = *(const lanes *)(panel + i * PANEL);
        for (int r = 0; r < rows; r++)
            sums[r] += weights * x[r * inner + i];
    }
    for (int r = 0; r < rows; r++)
        memcpy(out + r * outer, &sums[r], 4 * width);
}

CLONES static void panel_one(const float *x, const float *panel, float *out, int64_t rows,
                             int64_t inner, int64_t outer, int64_t width)
{
    int64_t r = 0;
    for (; r + 8 <= rows; r += 8)
        panel_rows(x + r * inner, panel, out + r * outer, inner, outer, width, 8);
    for (; r + 4 <= rows; r += 4)
        panel_rows(x + r * inner, panel, out + r * outer, inner, outer, width, 4);
    for (; r + 2 <= rows; r += 2)
        panel_rows(x + r * inner, panel, out + r * outer, inner, outer, width, 2);
    for (; r < rows; r++)
        panel_rows(x + r * inner, panel, out + r * outer, inner, outer, width, 1);
}

void multiply_panels(const float *x, const float *panels, float *out, int64_t rows, int64_t inner,
                     int64_t outer)
{
    /* As many rows at a time as stay in a core's cache while the panels go by. */
    int64_t some = NEAR / inner / ROWS * ROWS;
    some = some < ROWS ? ROWS : some;
#pragma omp parallel for collapse(2) if (inner * outer > ALONE)
    for (int64_t r = 0; r < rows; r += some)
        for (int64_t o = 0; o < outer; o += PANEL)
            panel_one(x + r * inner, panels + o * inner, out + r * outer + o,
                      rows - r < some ? rows - r : some, inner, outer,
                      outer - o < PANEL ? outer - o : PANEL);
}

CLONES static void add_scaled(const float *scales, const float *b, float *out, int64_t rank,
                              int64_t outer, int64_t width)
{
    int64_t j = 0;
    for (; j + 4 <= rank; j += 4) {
        const float *p = b + j * outer, *q = p + outer, *s = q + outer, *t = s + outer;
        const float *by = scales + j;
#pragma omp simd
        for (int64_t o = 0; o < width; o++)
            out[o] += by[0] * p[o] + by[1] * q[o] + by[2] * s[o] + by[3] * t[o];
    }
    for (; j < rank; j++)
#pragma omp simd
        for (int64_t o = 0; o < width; o++)
            out[o] += scales[j] * b[j * outer + o];
}

void adapt(const float *x, const float *a, const float *b, const int64_t *slots, float *out,
           const int64_t *ends, int64_t rows, int64_t inner, int64_t outer, int64_t rank,
           int64_t parts)
{
#pragma omp parallel for if (rows > 1)
    for (int64_t r = 0; r < rows; r++) {
        if (slots[r] < 0)
            continue;
        float low[parts * rank];
        multiply_some(x + r * inner, a + slots[r] * parts * rank * inner, low, 1, inner,
                      parts * rank, 0, parts * rank);
        for (int64_t p = 0, from = 0; p < parts; from = ends[p++])
            add_scaled(low + p * rank, b + slots[r] * rank * outer + from, out + r * outer + from,
                       rank, outer, ends[p] - from);
    }
}

CLONES static void rotate_one(float *x, const float *cosine, const float *sine, int64_t heads,
                              int64_t width)
{
    int64_t half = width / 2;
    for (int64_t h = 0; h < heads; h++, x += width)
#pragma omp simd
        for (int64_t d = 0; d < half; d++) {
            float low = x[d], high = x[d + half];
            x[d] = low * cosine[d] + high * sine[d];
            x[d + half] = high * cosine[d + half] + low * sine[d + half];
        }
}

void rotate(float *x, int64_t row, const float *cosine, const float *sine,
            const int64_t *positions, int64_t rows, int64_t heads, int64_t width)
{
#pragma omp parallel for if (rows * heads * width > ALONE)
    for (int64_t r = 0; r < rows; r++) {
        int64_t at = positions[r] * width;
        rotate_one(x + r * row, cosine + at, sine + at, heads, width);
    }
}

CLONES static void gate_one(const float *gate, const float *up, float *out, int64_t width)
{
#pragma omp simd
    for (int64_t d = 0; d < width; d++) {
        /* x / (1 + e^-x), by an exponent that is never positive. */
        float x = gate[d], small = exponential(x < 0 ? x : -x);
        out[d] = x * (x < 0 ? small : 1.0f) / (1.0f + small) * up[d];
    }
}

void gated(const float *x, float *out, int64_t rows, int64_t width)
{
#pragma omp parallel for if (rows * width > ALONE)
    for (int64_t r = 0; r < rows; r++)
        gate_one(x + 2 * r * width, x + (2 * r + 1) * width, out + r * width, width);
}

CLONES static void normalise_one(float *x, const float *added, const float *weight, float *out,
                                 int64_t width, float least)
{
    float squares = 0;
    if (added)
#pragma omp simd
        for (int64_t d = 0; d < width; d++)
            x[d] += added[d];
#pragma omp simd reduction(+ : squares)
    for (int64_t d = 0; d < width; d++)
        squares += x[d] * x[d];
    float factor = 1.0f / sqrtf(squares / width + least);
#pragma omp simd
    for (int64_t d = 0; d < width; d++)
        out[d] = x[d] * factor * weight[d];
}

void normalise(float *x, const float *added, const float *weight, float *out, int64_t rows,
               int64_t width, float least)
{
#pragma omp parallel for if (rows * width > ALONE)
    for (int64_t r = 0; r < rows; r++)
        normalise_one(x + r * width, added ? added + r * width : 0, weight, out + r * width,
                      width, least);
}
