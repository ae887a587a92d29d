/* Numbers as byte planes, and as fields of few bits. */

#include "kernels.h"

/* The places of fields that are all ones, in the order of the numbers: of eight bytes, a bit at the lowest bit of
   each field at bit `at` that is. */
static inline uint64_t all_ones(uint64_t bytes, int bits, int at)
{
    uint64_t ones = bytes >> at;
    for (int k = 1; k < bits; k *= 2)
        ones &= ones >> k;
    return ones & 0x0101010101010101u;
}

#define EACH_ESCAPE(packed, n, bits, ...)                                                                            \
    {                                                                                                                \
        Py_ssize_t lane_ = ((n) * (bits) + 7) / 8;                                                                   \
        for (int at_ = 0; at_ < 8; at_ += (bits)) {                                                                  \
            Py_ssize_t first_ = at_ / (bits) * lane_, count_ = (n) - first_ < lane_ ? (n) - first_ : lane_, j_ = 0;  \
            for (; j_ + 8 <= count_; j_ += 8) {                                                                      \
                uint64_t bytes_, ones_;                                                                              \
                memcpy(&bytes_, (packed) + j_, 8);                                                                   \
                for (ones_ = all_ones(bytes_, bits, at_); ones_; ones_ &= ones_ - 1) {                               \
                    Py_ssize_t i = first_ + j_ + (__builtin_ctzll(ones_) >> 3);                                      \
                    __VA_ARGS__                                                                                      \
                }                                                                                                    \
            }                                                                                                        \
            for (; j_ < count_; j_++)                                                                                \
                if (all_ones((packed)[j_], bits, at_) & 1) {                                                         \
                    Py_ssize_t i = first_ + j_;                                                                      \
                    __VA_ARGS__                                                                                      \
                }                                                                                                    \
        }                                                                                                            \
    }

#define LOOPS(W)                                                                                                     \
    WIDE static void split_##W(const u##W *bits, uint8_t *planes, Py_ssize_t n, Py_ssize_t padded)                   \
    {                                                                                                                \
        /* Blocks, so that the items are read from the cache for every plane but the first. */                       \
        for (Py_ssize_t start = 0; start < n; start += 4096) {                                                       \
            Py_ssize_t stop = n - start < 4096 ? n : start + 4096;                                                   \
            for (int plane = 0; plane < W / 8; plane++) {                                                            \
                uint8_t *out = planes + plane * padded;                                                              \
                for (Py_ssize_t i = start; i < stop; i++)                                                            \
                    out[i] = (uint8_t)(bits[i] >> (8 * plane));                                                      \
            }                                                                                                        \
        }                                                                                                            \
    }                                                                                                                \
                                                                                                                     \
    WIDE static void join_##W(const uint8_t *planes, u##W *out, Py_ssize_t n, Py_ssize_t padded)                     \
    {                                                                                                                \
        for (Py_ssize_t i = 0; i < n; i++) {                                                                         \
            u##W value = planes[i];                                                                                  \
            for (int plane = 1; plane < W / 8; plane++)                                                              \
                value |= (u##W)((u##W)planes[plane * padded + i] << (8 * plane));                                    \
            out[i] = value;                                                                                          \
        }                                                                                                            \
    }                                                                                                                \
                                                                                                                     \
    WIDE static Py_ssize_t pack_##W(const u##W *numbers, uint8_t *out, Py_ssize_t n, int bits, int shift, int whole) \
    {                                                                                                                \
        Py_ssize_t lane = (n * bits + 7) / 8, large = 0;                                                             \
        u##W top = (u##W)((1 << bits) - 1);                                                                          \
        for (int at = 0; at < 8; at += bits) {                                                                       \
            Py_ssize_t start = at / bits * lane, count = n - start < lane ? n - start : lane;                        \
            const u##W *part = numbers + start;                                                                      \
            for (Py_ssize_t first = 0; first < count; first += 1 << 14) {                                            \
                Py_ssize_t last = count - first < 1 << 14 ? count : first + (1 << 14);                               \
                uint32_t escapes = 0;                                                                                \
                if (whole)                                                                                           \
                    for (Py_ssize_t i = first; i < last; i++)                                                        \
                        out[i] = (uint8_t)(part[i] >> shift);                                                        \
                else if (at == 0)                                                                                    \
                    for (Py_ssize_t i = first; i < last; i++) {                                                      \
                        u##W value = (u##W)(part[i] >> shift);                                                       \
                        escapes += value >= top;                                                                     \
                        out[i] = (uint8_t)(value < top ? value : top);                                               \
                    }                                                                                                \
                else                                                                                                 \
                    for (Py_ssize_t i = first; i < last; i++) {                                                      \
                        u##W value = (u##W)(part[i] >> shift);                                                       \
                        escapes += value >= top;                                                                     \
                        out[i] |= (uint8_t)((value < top ? value : top) << at);                                      \
                    }                                                                                                \
                large += escapes;                                                                                    \
            }                                                                                                        \
        }                                                                                                            \
        return large;                                                                                                \
    }                                                                                                                \
                                                                                                                     \
    WIDE static void low_##W(const u##W *numbers, uint8_t *out, Py_ssize_t n, int shift)                             \
    {                                                                                                                \
        for (int plane = 0; plane < shift / 8; plane++, out += n)                                                    \
            for (Py_ssize_t i = 0; i < n; i++)                                                                       \
                out[i] = (uint8_t)(numbers[i] >> (8 * plane));                                                       \
        if (shift % 8) {                                                                                             \
            Py_ssize_t lane = (n + 1) / 2;                                                                           \
            int at = shift / 8 * 8;                                                                                  \
            for (Py_ssize_t i = 0; i < lane; i++)                                                                    \
                out[i] = (uint8_t)(numbers[i] >> at & 15);                                                           \
            for (Py_ssize_t i = 0; i < n - lane; i++)                                                                \
                out[i] |= (uint8_t)((numbers[lane + i] >> at & 15) << 4);                                            \
        }                                                                                                            \
    }                                                                                                                \
                                                                                                                     \
    WIDE static void unpack_##W(const uint8_t *packed, u##W *out, Py_ssize_t n, int bits)                            \
    {                                                                                                                \
        Py_ssize_t lane = (n * bits + 7) / 8;                                                                        \
        uint8_t top = (uint8_t)((1 << bits) - 1);                                                                    \
        for (int at = 0; at < 8; at += bits) {                                                                       \
            Py_ssize_t start = at / bits * lane, count = n - start < lane ? n - start : lane;                        \
            u##W *part = out + start;                                                                                \
            for (Py_ssize_t i = 0; i < count; i++)                                                                   \
                part[i] = (uint8_t)(packed[i] >> at) & top;                                                          \
        }                                                                                                            \
    }                                                                                                                \
                                                                                                                     \
    WIDE static void join_low_##W(const uint8_t *low, u##W *out, Py_ssize_t n, int shift)                            \
    {                                                                                                                \
        if (shift % 8) {                                                                                             \
            const uint8_t *nibbles = low + shift / 8 * n;                                                            \
            Py_ssize_t lane = (n + 1) / 2;                                                                           \
            for (Py_ssize_t i = 0; i < lane; i++)                                                                    \
                out[i] = (u##W)((u##W)(out[i] << 4) | (nibbles[i] & 15));                                            \
            for (Py_ssize_t i = 0; i < n - lane; i++)                                                                \
                out[lane + i] = (u##W)((u##W)(out[lane + i] << 4) | (nibbles[i] >> 4));                              \
        }                                                                                                            \
        if (W > 8)                                                                                                   \
            for (int plane = shift / 8 - 1; plane >= 0; plane--)                                                     \
                for (Py_ssize_t i = 0; i < n; i++)                                                                   \
                    out[i] = (u##W)((uint64_t)out[i] << 8 | low[plane * n + i]);                                     \
    }                                                                                                                \
                                                                                                                     \
    static int excess_##W(const u##W *numbers, const uint8_t *packed, u##W *out, Py_ssize_t n, Py_ssize_t room,      \
                          int bits, int shift)                                                                       \
    {                                                                                                                \
        u##W top = (u##W)((1 << bits) - 1);                                                                          \
        Py_ssize_t found = 0;                                                                                        \
        EACH_ESCAPE(packed, n, bits, {                                                                               \
            if (found == room)                                                                                       \
                return 0;                                                                                            \
            out[found++] = (u##W)((u##W)(numbers[i] >> shift) - top);                                                \
        })                                                                                                           \
        return found == room;                                                                                        \
    }                                                                                                                \
                                                                                                                     \
    static int add_excess_##W(u##W *numbers, const uint8_t *packed, const u##W *rest, Py_ssize_t n, Py_ssize_t room, \
                              int bits, int shift)                                                                   \
    {                                                                                                                \
        Py_ssize_t used = 0;                                                                                         \
        EACH_ESCAPE(packed, n, bits, {                                                                               \
            if (used == room)                                                                                        \
                return 0;                                                                                            \
            numbers[i] = (u##W)(numbers[i] + (u##W)(rest[used++] << shift));                                         \
        })                                                                                                           \
        return used == room;                                                                                         \
    }

LOOPS(8)
LOOPS(16)
LOOPS(32)
LOOPS(64)

PyObject *split_planes(PyObject *self, PyObject *args)
{
    PyObject *bits_, *planes_;
    Buffers held = {.count = 0};
    Py_buffer *bits, *planes;
    if (!PyArg_ParseTuple(args, "OO", &bits_, &planes_))
        return NULL;
    if (!(bits = hold(&held, bits_, 0)) || !(planes = hold(&held, planes_, 1)))
        return release(&held), NULL;
    if (!known_width(bits) || planes->len % bits->itemsize || planes->len < bits->len)
        return refuse(&held, "the planes do not fit the items");
    Py_ssize_t padded = planes->len / bits->itemsize, count = items(bits);
    Py_BEGIN_ALLOW_THREADS
#define CALL(W) split_##W(bits->buf, planes->buf, count, padded)
    DISPATCH(bits->itemsize, CALL)
#undef CALL
    for (Py_ssize_t plane = 0; count < padded && plane < bits->itemsize; plane++)
        memset((uint8_t *)planes->buf + plane * padded + count, 0, padded - count);
    Py_END_ALLOW_THREADS
    release(&held);
    Py_RETURN_NONE;
}

PyObject *join_planes(PyObject *self, PyObject *args)
{
    PyObject *planes_, *out_;
    Buffers held = {.count = 0};
    Py_buffer *planes, *out;
    if (!PyArg_ParseTuple(args, "OO", &planes_, &out_))
        return NULL;
    if (!(planes = hold(&held, planes_, 0)) || !(out = hold(&held, out_, 1)))
        return release(&held), NULL;
    if (!known_width(out) || planes->len % out->itemsize || planes->len < out->len)
        return refuse(&held, "the planes do not fit the items");
    Py_ssize_t padded = planes->len / out->itemsize;
    Py_BEGIN_ALLOW_THREADS
#define CALL(W) join_##W(planes->buf, out->buf, items(out), padded)
    DISPATCH(out->itemsize, CALL)
#undef CALL
    Py_END_ALLOW_THREADS
    release(&held);
    Py_RETURN_NONE;
}

static Py_ssize_t fields_size(Py_ssize_t count, int bits, int shift)
{
    return shift / 8 * count + (shift % 8 ? (count + 1) / 2 : 0) + (count * bits + 7) / 8;
}

static int known_fields(int bits, int shift, Py_ssize_t itemsize)
{
    return (bits == 1 || bits == 2 || bits == 4 || bits == 8) && shift >= 0 && shift % 4 == 0 &&
           shift + bits <= 8 * itemsize && (bits == 8 || shift == 0);
}

PyObject *write_fields(PyObject *self, PyObject *args)
{
    PyObject *numbers_, *out_;
    Buffers held = {.count = 0};
    Py_buffer *numbers, *out;
    int bits, shift;
    Py_ssize_t large = 0;
    if (!PyArg_ParseTuple(args, "OiiO", &numbers_, &bits, &shift, &out_))
        return NULL;
    if (!(numbers = hold(&held, numbers_, 0)) || !(out = hold(&held, out_, 1)))
        return release(&held), NULL;
    Py_ssize_t count = items(numbers);
    if (!known_width(numbers) || !known_fields(bits, shift, numbers->itemsize) ||
        out->len != fields_size(count, bits, shift))
        return refuse(&held, "the fields do not fit the numbers");
    Py_BEGIN_ALLOW_THREADS
    uint8_t *packed = (uint8_t *)out->buf + fields_size(count, 0, shift);
    int whole = shift + bits >= 8 * numbers->itemsize;
#define CALL(W)                                                                                                      \
    low_##W(numbers->buf, out->buf, count, shift);                                                                   \
    large = pack_##W(numbers->buf, packed, count, bits, shift, whole)
    DISPATCH(numbers->itemsize, CALL)
#undef CALL
    Py_END_ALLOW_THREADS
    release(&held);
    return PyLong_FromSsize_t(large);
}

PyObject *read_fields(PyObject *self, PyObject *args)
{
    PyObject *fields_, *out_;
    Buffers held = {.count = 0};
    Py_buffer *fields, *out;
    int bits, shift;
    if (!PyArg_ParseTuple(args, "OiiO", &fields_, &bits, &shift, &out_))
        return NULL;
    if (!(fields = hold(&held, fields_, 0)) || !(out = hold(&held, out_, 1)))
        return release(&held), NULL;
    Py_ssize_t count = items(out);
    if (!known_width(out) || !known_fields(bits, shift, out->itemsize) ||
        fields->len != fields_size(count, bits, shift))
        return refuse(&held, "the fields do not fit the numbers");
    Py_BEGIN_ALLOW_THREADS
    const uint8_t *packed = (const uint8_t *)fields->buf + fields_size(count, 0, shift);
#define CALL(W)                                                                                                      \
    unpack_##W(packed, out->buf, count, bits);                                                                       \
    join_low_##W(fields->buf, out->buf, count, shift)
    DISPATCH(out->itemsize, CALL)
#undef CALL
    Py_END_ALLOW_THREADS
    release(&held);
    Py_RETURN_NONE;
}

static PyObject *escape(PyObject *args, int reading)
{
    PyObject *numbers_, *fields_, *rest_;
    Buffers held = {.count = 0};
    Py_buffer *numbers, *fields, *rest;
    int bits, shift, fits = 0;
    if (!PyArg_ParseTuple(args, "OOiiO", &numbers_, &fields_, &bits, &shift, &rest_))
        return NULL;
    if (!(numbers = hold(&held, numbers_, reading)) || !(fields = hold(&held, fields_, 0)) ||
        !(rest = hold(&held, rest_, !reading)))
        return release(&held), NULL;
    Py_ssize_t count = items(numbers);
    if (!known_width(numbers) || rest->itemsize != numbers->itemsize ||
        !known_fields(bits, shift, numbers->itemsize) || fields->len != fields_size(count, bits, shift))
        return refuse(&held, "the fields do not fit the numbers");
    Py_BEGIN_ALLOW_THREADS
    const uint8_t *packed = (const uint8_t *)fields->buf + fields_size(count, 0, shift);
#define CALL(W)                                                                                                      \
    fits = reading ? add_excess_##W(numbers->buf, packed, rest->buf, count, items(rest), bits, shift)                \
                   : excess_##W(numbers->buf, packed, rest->buf, count, items(rest), bits, shift)
    DISPATCH(numbers->itemsize, CALL)
#undef CALL
    Py_END_ALLOW_THREADS
    if (!fits)
        return refuse(&held, "another number of fields stand for large values");
    release(&held);
    Py_RETURN_NONE;
}

PyObject *excess(PyObject *self, PyObject *args)
{
    return escape(args, 0);
}

PyObject *add_excess(PyObject *self, PyObject *args)
{
    return escape(args, 1);
}
