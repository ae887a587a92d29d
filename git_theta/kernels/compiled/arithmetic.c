/* Sums of floats: weighted, and of squares and products. */

#include <math.h>
#include "kernels.h"

#define ROW 1024 /* products that are added in float32 before float64 takes over */
#define LANES 16 /* sums that a row's products are added to side by side */

/* Items as float32: bfloat16 is its upper half. */
static inline float value_16(u16 bits)
{
    u32 word = (u32)bits << 16;
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

static inline float value_32(u32 bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline u32 word_of(float value)
{
    u32 word;
    memcpy(&word, &value, sizeof word);
    return word;
}

/* To nearest, ties to even. */
static inline u16 rounded_16(float value)
{
    u32 word = word_of(value);
    return (u16)((word + 0x7FFF + (word >> 16 & 1)) >> 16);
}

static inline u32 rounded_32(float value)
{
    return word_of(value);
}

typedef struct {
    double old, new, difference, product;
    float largest;
    Py_ssize_t changed;
} Sums;

/* Adds item `i` of both tensors to the sums in lane `k`. */
#define ADD_UP(W, i, k)                                                                                              \
    {                                                                                                                \
        float a = value_##W(old[i]), b = value_##W(new[i]), d = b - a, size = fabsf(d);                              \
        aa[k] += a * a;                                                                                              \
        bb[k] += b * b;                                                                                              \
        ab[k] += a * b;                                                                                              \
        dd[k] += d * d;                                                                                              \
        largest[k] = size > largest[k] ? size : largest[k];                                                          \
    }

#define ARITHMETIC(W)                                                                                                \
    WIDE static void sums_##W(const u##W *old, const u##W *new, Py_ssize_t n, Sums *sums)                            \
    {                                                                                                                \
        float largest[LANES] = {0};                                                                                  \
        for (Py_ssize_t start = 0; start < n; start += ROW) {                                                        \
            Py_ssize_t stop = n - start < ROW ? n : start + ROW, i = start;                                          \
            float aa[LANES] = {0}, bb[LANES] = {0}, ab[LANES] = {0}, dd[LANES] = {0};                                \
            for (; i + LANES <= stop; i += LANES)                                                                    \
                for (int k = 0; k < LANES; k++)                                                                      \
                    ADD_UP(W, i + k, k)                                                                              \
            for (int k = 0; i < stop; i++, k++)                                                                      \
                ADD_UP(W, i, k)                                                                                      \
            for (int k = 0; k < LANES; k++) {                                                                        \
                sums->old += aa[k];                                                                                  \
                sums->new += bb[k];                                                                                  \
                sums->product += ab[k];                                                                              \
                sums->difference += dd[k];                                                                           \
            }                                                                                                        \
        }                                                                                                            \
        for (int k = 0; k < LANES; k++)                                                                              \
            sums->largest = largest[k] > sums->largest ? largest[k] : sums->largest;                                 \
        sums->changed = changed_##W(old, new, n);                                                                    \
    }                                                                                                                \
                                                                                                                     \
    WIDE static void subtract_##W(const u##W *old, const u##W *new, float *out, Py_ssize_t n)                        \
    {                                                                                                                \
        for (Py_ssize_t i = 0; i < n; i++) {                                                                         \
            float d = value_##W(new[i]) - value_##W(old[i]);                                                         \
            out[i] = d - d == 0 ? d : 0;                                                                             \
        }                                                                                                            \
    }                                                                                                                \
                                                                                                                     \
    WIDE static double squares_##W(const u##W *bits, Py_ssize_t n)                                                   \
    {                                                                                                                \
        double total = 0;                                                                                            \
        for (Py_ssize_t start = 0; start < n; start += ROW) {                                                        \
            Py_ssize_t stop = n - start < ROW ? n : start + ROW, i = start;                                          \
            float aa[LANES] = {0};                                                                                   \
            for (; i + LANES <= stop; i += LANES)                                                                    \
                for (int k = 0; k < LANES; k++)                                                                      \
                    aa[k] += value_##W(bits[i + k]) * value_##W(bits[i + k]);                                        \
            for (int k = 0; i < stop; i++, k++)                                                                      \
                aa[k] += value_##W(bits[i]) * value_##W(bits[i]);                                                    \
            for (int k = 0; k < LANES; k++)                                                                          \
                total += aa[k];                                                                                      \
        }                                                                                                            \
        return total;                                                                                                \
    }

ARITHMETIC(16)
ARITHMETIC(32)

/* The sum is kept as `kind`, and rounded to float32 before it is rounded to bfloat16. */
#define WEIGHTED_SUM(W, kind)                                                                                        \
    WIDE static void weighted_sum_##W##_##kind(const u##W *const *inputs, const double *coefficients, int count,     \
                                               u##W *out, Py_ssize_t n, Py_ssize_t *wild, Py_ssize_t *lost)          \
    {                                                                                                                \
        kind total[ROW];                                                                                             \
        const u##W *first = inputs[0];                                                                               \
        for (Py_ssize_t start = 0; start < n; start += ROW) {                                                        \
            int size = (int)(n - start < ROW ? n - start : ROW), finite = 1;                                         \
            u##W largest = 0;                                                                                        \
            for (int k = 0; k < count; k++) {                                                                        \
                const u##W *input = inputs[k] + start;                                                               \
                kind coefficient = (kind)coefficients[k];                                                            \
                if (k == 0)                                                                                          \
                    for (int i = 0; i < size; i++)                                                                   \
                        total[i] = value_##W(input[i]) * coefficient;                                                \
                else                                                                                                 \
                    for (int i = 0; i < size; i++)                                                                   \
                        total[i] += value_##W(input[i]) * coefficient;                                               \
            }                                                                                                        \
            for (int i = 0; i < size; i++)                                                                           \
                finite &= total[i] - total[i] == 0;                                                                  \
            for (int i = 0; finite && i < size; i++) {                                                               \
                u##W result = rounded_##W((float)total[i]), exponent = result & (u##W)(0x7F800000 >> (32 - W));      \
                out[start + i] = result;                                                                             \
                largest = exponent > largest ? exponent : largest;                                                   \
            }                                                                                                        \
            if (finite && largest != (u##W)(0x7F800000 >> (32 - W)))                                                 \
                continue;                                                                                            \
            for (int i = 0; i < size; i++) {                                                                         \
                int is_finite = total[i] - total[i] == 0;                                                            \
                u##W result = is_finite ? rounded_##W((float)total[i]) : first[start + i];                           \
                out[start + i] = result;                                                                             \
                *wild += !is_finite;                                                                                 \
                *lost += is_finite && (result & (u##W)(0x7F800000 >> (32 - W))) == (u##W)(0x7F800000 >> (32 - W));   \
            }                                                                                                        \
        }                                                                                                            \
    }

WEIGHTED_SUM(16, float)
WEIGHTED_SUM(16, double)
WEIGHTED_SUM(32, float)
WEIGHTED_SUM(32, double)

PyObject *weighted_sum(PyObject *self, PyObject *args)
{
    PyObject *inputs_, *coefficients_, *out_;
    Buffers held = {.count = 0};
    Py_buffer *out;
    const void *inputs[INPUTS];
    double coefficients[INPUTS];
    int wide;
    Py_ssize_t wild = 0, lost = 0;
    if (!PyArg_ParseTuple(args, "O!O!pO", &PyTuple_Type, &inputs_, &PyTuple_Type, &coefficients_, &wide, &out_))
        return NULL;
    Py_ssize_t count = PyTuple_GET_SIZE(inputs_);
    if (count < 1 || count > INPUTS || PyTuple_GET_SIZE(coefficients_) != count)
        return refuse(&held, "not one coefficient for each of 1 to 64 inputs");
    if (!(out = hold(&held, out_, 1)))
        return release(&held), NULL;
    if (out->itemsize != 2 && out->itemsize != 4)
        return refuse(&held, "items have 2 or 4 bytes");
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_buffer *input = hold(&held, PyTuple_GET_ITEM(inputs_, i), 0);
        coefficients[i] = PyFloat_AsDouble(PyTuple_GET_ITEM(coefficients_, i));
        if (!input || (coefficients[i] == -1.0 && PyErr_Occurred()))
            return release(&held), NULL;
        if (!alike(input, out))
            return refuse(&held, "the arrays differ in length or type");
        inputs[i] = input->buf;
    }
    Py_BEGIN_ALLOW_THREADS
#define CALL(W, kind)                                                                                                \
    weighted_sum_##W##_##kind((const u##W *const *)inputs, coefficients, (int)count, out->buf, items(out), &wild,    \
                              &lost)
    if (out->itemsize == 2 && wide)
        CALL(16, double);
    else if (out->itemsize == 2)
        CALL(16, float);
    else if (wide)
        CALL(32, double);
    else
        CALL(32, float);
#undef CALL
    Py_END_ALLOW_THREADS
    release(&held);
    return Py_BuildValue("nn", wild, lost);
}

PyObject *sums(PyObject *self, PyObject *args)
{
    PyObject *old_, *new_;
    Buffers held = {.count = 0};
    Py_buffer *old, *new;
    Sums found = {0};
    if (!PyArg_ParseTuple(args, "OO", &old_, &new_))
        return NULL;
    if (!(old = hold(&held, old_, 0)) || !(new = hold(&held, new_, 0)))
        return release(&held), NULL;
    if (!alike(old, new) || (old->itemsize != 2 && old->itemsize != 4))
        return refuse(&held, "the arrays differ in length or type");
    Py_BEGIN_ALLOW_THREADS
    if (old->itemsize == 2)
        sums_16(old->buf, new->buf, items(old), &found);
    else
        sums_32(old->buf, new->buf, items(old), &found);
    Py_END_ALLOW_THREADS
    release(&held);
    return Py_BuildValue("nddddd", found.changed, found.old, found.new, found.difference, found.product,
                         (double)found.largest);
}

PyObject *subtract(PyObject *self, PyObject *args)
{
    PyObject *old_, *new_, *out_;
    Buffers held = {.count = 0};
    Py_buffer *old, *new, *out;
    if (!PyArg_ParseTuple(args, "OOO", &old_, &new_, &out_))
        return NULL;
    if (!(old = hold(&held, old_, 0)) || !(new = hold(&held, new_, 0)) || !(out = hold(&held, out_, 1)))
        return release(&held), NULL;
    if (!alike(old, new) || (old->itemsize != 2 && old->itemsize != 4) || out->itemsize != 4 ||
        items(out) != items(old))
        return refuse(&held, "the arrays differ in length or type");
    Py_BEGIN_ALLOW_THREADS
    if (old->itemsize == 2)
        subtract_16(old->buf, new->buf, out->buf, items(old));
    else
        subtract_32(old->buf, new->buf, out->buf, items(old));
    Py_END_ALLOW_THREADS
    release(&held);
    Py_RETURN_NONE;
}

PyObject *squares(PyObject *self, PyObject *args)
{
    PyObject *bits_;
    Buffers held = {.count = 0};
    Py_buffer *bits;
    double found;
    if (!PyArg_ParseTuple(args, "O", &bits_))
        return NULL;
    if (!(bits = hold(&held, bits_, 0)))
        return release(&held), NULL;
    if (bits->itemsize != 2 && bits->itemsize != 4)
        return refuse(&held, "items have 2 or 4 bytes");
    Py_BEGIN_ALLOW_THREADS
    found = bits->itemsize == 2 ? squares_16(bits->buf, items(bits)) : squares_32(bits->buf, items(bits));
    Py_END_ALLOW_THREADS
    release(&held);
    return PyFloat_FromDouble(found);
}
