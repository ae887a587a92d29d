/* The innermost loops, compiled. The module portable.py holds the same functions in NumPy, and says what each
   of them does; both give the same bits.

   Every function takes C-contiguous buffers, checks that their lengths fit together before it touches them, and
   lets go of Python's lock while it runs. Integers in buffers are little-endian, as on every machine that this is
   built for. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are little-endian; this machine is not: NumPy does the work"
#endif

/* One build serves every x86-64 machine: these loops are compiled twice, and the right one is picked when the
   module is loaded. AVX2 does not include fused multiplication, which would change results. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

#define INPUTS 64              /* of a weighted sum, at most */
#define ARGUMENTS (INPUTS + 1) /* buffers of one call, at most */
#define SORTED ((Py_ssize_t)128 << 10) /* pairs that are sorted at a time */
#define STAGED 8192                    /* pairs that are sorted at a time on the way there */
#define CODES 256                      /* of pairs: 16 * class of the second item + class of the first */
#define ROW 1024                       /* products that are added in float32 before float64 takes over */
#define LANES 16                       /* sums that a row's products are added to side by side */

/* ---- Buffers ---- */

typedef struct {
    Py_buffer views[ARGUMENTS];
    int count;
} Buffers;

static void release(Buffers *buffers)
{
    for (int i = 0; i < buffers->count; i++)
        PyBuffer_Release(&buffers->views[i]);
    buffers->count = 0;
}

static Py_buffer *hold(Buffers *buffers, PyObject *object, int writable)
{
    Py_buffer *view = &buffers->views[buffers->count];
    if (PyObject_GetBuffer(object, view, writable ? PyBUF_CONTIG : PyBUF_CONTIG_RO) < 0)
        return NULL;
    buffers->count++;
    return view;
}

static PyObject *refuse(Buffers *buffers, const char *why)
{
    release(buffers);
    PyErr_SetString(PyExc_ValueError, why);
    return NULL;
}

static Py_ssize_t items(const Py_buffer *view)
{
    return view->itemsize ? view->len / view->itemsize : 0;
}

static int alike(const Py_buffer *first, const Py_buffer *second)
{
    return first->len == second->len && first->itemsize == second->itemsize;
}

static int known_width(const Py_buffer *view)
{
    return view->itemsize == 1 || view->itemsize == 2 || view->itemsize == 4 || view->itemsize == 8;
}

#define DISPATCH(width, CALL)                                                                                        \
    switch (width) {                                                                                                 \
    case 1: CALL(8); break;                                                                                          \
    case 2: CALL(16); break;                                                                                         \
    case 4: CALL(32); break;                                                                                         \
    default: CALL(64); break;                                                                                        \
    }

/* ---- Fields that are all ones ---- */

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

/* ---- Loops, for every width of items ---- */

#define LOOPS(W)                                                                                                     \
    typedef uint##W##_t u##W;                                                                                        \
    typedef int##W##_t s##W;                                                                                         \
                                                                                                                     \
    WIDE static Py_ssize_t changed_##W(const u##W *first, const u##W *second, Py_ssize_t n)                          \
    {                                                                                                                \
        Py_ssize_t count = 0;                                                                                        \
        for (Py_ssize_t start = 0; start < n; start += 1 << 14) {                                                    \
            Py_ssize_t stop = n - start < 1 << 14 ? n : start + (1 << 14);                                           \
            u##W part = 0; /* as narrow as the items, so that as many fit a register */                              \
            if (W >= 16)                                                                                             \
                for (Py_ssize_t i = start; i < stop; i++)                                                            \
                    part += first[i] != second[i];                                                                   \
            else                                                                                                     \
                for (Py_ssize_t i = start; i < stop; i++)                                                            \
                    count += first[i] != second[i];                                                                  \
            count += part;                                                                                           \
        }                                                                                                            \
        return count;                                                                                                \
    }                                                                                                                \
                                                                                                                     \
    static int positions_##W(const u##W *first, const u##W *second, Py_ssize_t n, int64_t *out, Py_ssize_t room)     \
    {                                                                                                                \
        Py_ssize_t found = 0, i = 0;                                                                                 \
        for (; i + 8 <= n; i += 8) { /* mostly nothing differs: look at several at once */                           \
            u##W any = 0;                                                                                            \
            for (int k = 0; k < 8; k++)                                                                              \
                any |= (u##W)(first[i + k] ^ second[i + k]);                                                         \
            if (!any)                                                                                                \
                continue;                                                                                            \
            for (int k = 0; k < 8; k++)                                                                              \
                if (first[i + k] != second[i + k]) {                                                                 \
                    if (found == room)                                                                               \
                        return 0;                                                                                    \
                    out[found++] = i + k;                                                                            \
                }                                                                                                    \
        }                                                                                                            \
        for (; i < n; i++)                                                                                           \
            if (first[i] != second[i]) {                                                                             \
                if (found == room)                                                                                   \
                    return 0;                                                                                        \
                out[found++] = i;                                                                                    \
            }                                                                                                        \
        return found == room;                                                                                        \
    }                                                                                                                \
                                                                                                                     \
    WIDE static void difference_##W(const u##W *predicted, const u##W *target, u##W *out, Py_ssize_t n, u##W turn)   \
    {                                                                                                                \
        for (Py_ssize_t i = 0; i < n; i++) {                                                                         \
            u##W p = predicted[i], t = target[i];                                                                    \
            t ^= (u##W)((s##W)(t ^ p) >> (W - 1)) & turn;                                                            \
            u##W a = (u##W)(t - p);                                                                                  \
            out[i] = (u##W)(a << 1) ^ (u##W)((s##W)a >> (W - 1));                                                    \
        }                                                                                                            \
    }                                                                                                                \
                                                                                                                     \
    WIDE static void add_##W(const u##W *predicted, const u##W *differences, u##W *out, Py_ssize_t n, u##W turn)     \
    {                                                                                                                \
        for (Py_ssize_t i = 0; i < n; i++) {                                                                         \
            u##W p = predicted[i], z = differences[i];                                                               \
            u##W a = (u##W)((z >> 1) ^ (u##W) - (z & 1));                                                            \
            a = (u##W)(a + p);                                                                                       \
            out[i] = a ^ ((u##W)((s##W)(a ^ p) >> (W - 1)) & turn);                                                  \
        }                                                                                                            \
    }                                                                                                                \
                                                                                                                     \
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

/* ---- Comparing and predicting ---- */

PyDoc_STRVAR(changed_doc, "changed(first, second)\n--\n\n");
static PyObject *changed(PyObject *self, PyObject *args)
{
    PyObject *first_, *second_;
    Buffers held = {.count = 0};
    Py_buffer *first, *second;
    Py_ssize_t count = 0;
    if (!PyArg_ParseTuple(args, "OO", &first_, &second_))
        return NULL;
    if (!(first = hold(&held, first_, 0)) || !(second = hold(&held, second_, 0)))
        return release(&held), NULL;
    if (!alike(first, second) || !known_width(first))
        return refuse(&held, "the arrays differ in length or type");
    Py_BEGIN_ALLOW_THREADS
#define CALL(W) count = changed_##W(first->buf, second->buf, items(first))
    DISPATCH(first->itemsize, CALL)
#undef CALL
    Py_END_ALLOW_THREADS
    release(&held);
    return PyLong_FromSsize_t(count);
}

PyDoc_STRVAR(positions_doc, "positions(first, second, out)\n--\n\n");
static PyObject *positions(PyObject *self, PyObject *args)
{
    PyObject *first_, *second_, *out_;
    Buffers held = {.count = 0};
    Py_buffer *first, *second, *out;
    int fits = 0;
    if (!PyArg_ParseTuple(args, "OOO", &first_, &second_, &out_))
        return NULL;
    if (!(first = hold(&held, first_, 0)) || !(second = hold(&held, second_, 0)) || !(out = hold(&held, out_, 1)))
        return release(&held), NULL;
    if (!alike(first, second) || !known_width(first) || out->itemsize != 8)
        return refuse(&held, "the arrays differ in length or type");
    Py_BEGIN_ALLOW_THREADS
#define CALL(W) fits = positions_##W(first->buf, second->buf, items(first), out->buf, items(out))
    DISPATCH(first->itemsize, CALL)
#undef CALL
    Py_END_ALLOW_THREADS
    if (!fits)
        return refuse(&held, "another number of items differ");
    release(&held);
    Py_RETURN_NONE;
}

static PyObject *predict(PyObject *args, int adding)
{
    PyObject *predicted_, *other_, *out_;
    Buffers held = {.count = 0};
    Py_buffer *predicted, *other, *out;
    int floats;
    if (!PyArg_ParseTuple(args, "OOpO", &predicted_, &other_, &floats, &out_))
        return NULL;
    if (!(predicted = hold(&held, predicted_, 0)) || !(other = hold(&held, other_, 0)) ||
        !(out = hold(&held, out_, 1)))
        return release(&held), NULL;
    if (!alike(predicted, other) || !alike(predicted, out) || !known_width(out))
        return refuse(&held, "the arrays differ in length or type");
    Py_BEGIN_ALLOW_THREADS
#define TURN(W) (floats ? (u##W)((u##W) ~(u##W)0 >> 1) : (u##W)0)
#define CALL(W)                                                                                                      \
    if (adding)                                                                                                      \
        add_##W(predicted->buf, other->buf, out->buf, items(out), TURN(W));                                          \
    else                                                                                                             \
        difference_##W(predicted->buf, other->buf, out->buf, items(out), TURN(W))
    DISPATCH(out->itemsize, CALL)
#undef CALL
#undef TURN
    Py_END_ALLOW_THREADS
    release(&held);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(difference_doc, "difference(predicted, target, floats, out)\n--\n\n");
static PyObject *difference(PyObject *self, PyObject *args)
{
    return predict(args, 0);
}

PyDoc_STRVAR(add_doc, "add(predicted, differences, floats, out)\n--\n\n");
static PyObject *add(PyObject *self, PyObject *args)
{
    return predict(args, 1);
}

/* ---- Byte planes ---- */

PyDoc_STRVAR(split_planes_doc, "split_planes(bits, planes)\n--\n\n");
static PyObject *split_planes(PyObject *self, PyObject *args)
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

PyDoc_STRVAR(join_planes_doc, "join_planes(planes, out)\n--\n\n");
static PyObject *join_planes(PyObject *self, PyObject *args)
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

/* ---- Fields of few bits ---- */

static Py_ssize_t fields_size(Py_ssize_t count, int bits, int shift)
{
    return shift / 8 * count + (shift % 8 ? (count + 1) / 2 : 0) + (count * bits + 7) / 8;
}

static int known_fields(int bits, int shift, Py_ssize_t itemsize)
{
    return (bits == 1 || bits == 2 || bits == 4 || bits == 8) && shift >= 0 && shift % 4 == 0 &&
           shift + bits <= 8 * itemsize && (bits == 8 || shift == 0);
}

PyDoc_STRVAR(write_fields_doc, "write_fields(numbers, bits, shift, out)\n--\n\n");
static PyObject *write_fields(PyObject *self, PyObject *args)
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

PyDoc_STRVAR(read_fields_doc, "read_fields(fields, bits, shift, out)\n--\n\n");
static PyObject *read_fields(PyObject *self, PyObject *args)
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

PyDoc_STRVAR(excess_doc, "excess(numbers, fields, bits, shift, out)\n--\n\n");
static PyObject *excess(PyObject *self, PyObject *args)
{
    return escape(args, 0);
}

PyDoc_STRVAR(add_excess_doc, "add_excess(numbers, fields, bits, shift, rest)\n--\n\n");
static PyObject *add_excess(PyObject *self, PyObject *args)
{
    return escape(args, 1);
}

/* ---- Grouping ---- */

/* Pairs are counted and moved in two halves side by side: each step depends on the last one of an equal code. */
#define HALVES 2
#define EACH_PAIR(pairs, ...)                                                                                        \
    {                                                                                                                \
        Py_ssize_t each_ = (pairs) / HALVES;                                                                         \
        for (Py_ssize_t step_ = 0; step_ < each_; step_++)                                                           \
            for (int half = 0; half < HALVES; half++) {                                                              \
                Py_ssize_t i = half * each_ + step_;                                                                 \
                __VA_ARGS__                                                                                          \
            }                                                                                                        \
        for (Py_ssize_t i = HALVES * each_; i < (pairs); i++) {                                                      \
            const int half = HALVES - 1;                                                                             \
            __VA_ARGS__                                                                                              \
        }                                                                                                            \
    }

/* How many pairs of each half have each code. */
typedef uint32_t Tally[HALVES][CODES];

/* Where the next pair of each code goes, or comes from: its first item, and how far behind, modulo 2^32, the second
   one lies. */
typedef struct {
    Tally firsts;
    uint32_t gaps[CODES];
} Places;

static void tally(const uint8_t *codes, Py_ssize_t pairs, Tally found)
{
    memset(found, 0, sizeof(Tally));
    EACH_PAIR(pairs, found[half][codes[i]]++;)
}

static uint32_t of_code(const Tally found, int code)
{
    uint32_t sum = 0;
    for (int half = 0; half < HALVES; half++)
        sum += found[half][code];
    return sum;
}

static void count_classes(const Tally found, uint32_t *classes)
{
    for (int code = 0; code < CODES; code++) {
        classes[code >> 4] += of_code(found, code);
        classes[code & 15] += of_code(found, code);
    }
}

/* The places of one block of pairs. Moves the ends of the classes. */
static void place(const Tally found, uint32_t *ends, Places *at)
{
    for (int second = 0; second < 16; second++)
        for (int first = 0; first < 16; first++) {
            at->gaps[16 * second + first] = ends[second];
            ends[second] += of_code(found, 16 * second + first);
        }
    for (int first = 0; first < 16; first++)
        for (int second = 0; second < 16; second++) {
            int code = 16 * second + first;
            at->gaps[code] -= ends[first];
            for (int half = 0; half < HALVES; half++) {
                at->firsts[half][code] = ends[first];
                ends[first] += found[half][code];
            }
        }
}

typedef u32 pair_16;
typedef u64 pair_32;

#define GROUPING(W)                                                                                                  \
    WIDE static void classes_##W(const u##W *bits, uint8_t *out, int n, int mantissa, u##W mask, int top, int last)  \
    {                                                                                                                \
        for (int i = 0; i < n; i++) {                                                                                \
            uint8_t class = (uint8_t)(top - (uint8_t)(bits[i] >> mantissa & mask));                                  \
            out[i] = class < last ? class : (uint8_t)last;                                                           \
        }                                                                                                            \
    }                                                                                                                \
                                                                                                                     \
    static void code_##W(const u##W *bits, uint8_t *codes, Py_ssize_t pairs, int mantissa, u##W mask, int top,       \
                         int last, Tally found)                                                                      \
    {                                                                                                                \
        uint8_t classes[4096];                                                                                       \
        for (Py_ssize_t start = 0; start < pairs; start += 2048) {                                                   \
            int count = (int)(pairs - start < 2048 ? pairs - start : 2048);                                          \
            classes_##W(bits + 2 * start, classes, 2 * count, mantissa, mask, top, last);                            \
            for (int i = 0; i < count; i++)                                                                          \
                codes[start + i] = (uint8_t)(classes[2 * i + 1] << 4 | classes[2 * i]);                              \
        }                                                                                                            \
        tally(codes, pairs, found);                                                                                  \
    }                                                                                                                \
                                                                                                                     \
    WIDE static void split_pairs_##W(const pair_##W *pairs, u##W *firsts, u##W *seconds, Py_ssize_t n)               \
    {                                                                                                                \
        for (Py_ssize_t i = 0; i < n; i++) {                                                                         \
            firsts[i] = (u##W)pairs[i];                                                                              \
            seconds[i] = (u##W)(pairs[i] >> W);                                                                      \
        }                                                                                                            \
    }                                                                                                                \
                                                                                                                     \
    static void gather_##W(const u##W *differences, const uint8_t *codes, u##W *out, Py_ssize_t pairs, Places *at)   \
    {                                                                                                                \
        /* Some pairs at a time are sorted where they stay in the cache, and then copied run by run. */              \
        pair_##W staged[STAGED];                                                                                     \
        Tally found, places;                                                                                         \
        for (Py_ssize_t start = 0; start < pairs; start += STAGED) {                                                 \
            Py_ssize_t count = pairs - start < STAGED ? pairs - start : STAGED;                                      \
            const u##W *from = differences + 2 * start;                                                              \
            const uint8_t *part = codes + start;                                                                     \
            uint32_t position = 0;                                                                                   \
            tally(part, count, found);                                                                               \
            for (int code = 0; code < CODES; code++)                                                                 \
                for (int half = 0; half < HALVES; half++) {                                                          \
                    places[half][code] = position;                                                                   \
                    position += found[half][code];                                                                   \
                }                                                                                                    \
            EACH_PAIR(count, memcpy(&staged[places[half][part[i]]++], from + 2 * i, sizeof(pair_##W));)              \
            const pair_##W *run = staged;                                                                            \
            for (int code = 0; code < CODES; code++) {                                                               \
                uint32_t length = of_code(found, code), first = at->firsts[0][code];                                 \
                if (length)                                                                                          \
                    split_pairs_##W(run, out + first, out + (uint32_t)(first + at->gaps[code]), length);             \
                at->firsts[0][code] += length;                                                                       \
                run += length;                                                                                       \
            }                                                                                                        \
        }                                                                                                            \
    }                                                                                                                \
                                                                                                                     \
    static void scatter_##W(const u##W *lists, const uint8_t *codes, u##W *out, Py_ssize_t pairs, Places *at)        \
    {                                                                                                                \
        EACH_PAIR(pairs, {                                                                                           \
            uint8_t code = codes[i];                                                                                 \
            uint32_t place = at->firsts[half][code]++;                                                               \
            pair_##W pair = lists[place] | (pair_##W)lists[(uint32_t)(place + at->gaps[code])] << W;                 \
            memcpy(out + 2 * i, &pair, sizeof pair);                                                                 \
        })                                                                                                           \
    }

GROUPING(16)
GROUPING(32)

PyDoc_STRVAR(classify_doc, "classify(bits, mantissa, exponent, top, count, codes)\n--\n\n");
static PyObject *classify(PyObject *self, PyObject *args)
{
    PyObject *bits_, *codes_;
    Buffers held = {.count = 0};
    Py_buffer *bits, *codes;
    int mantissa, exponent, top, count;
    Tally found;
    uint32_t classes[16] = {0};
    if (!PyArg_ParseTuple(args, "OiiiiO", &bits_, &mantissa, &exponent, &top, &count, &codes_))
        return NULL;
    if (!(bits = hold(&held, bits_, 0)) || !(codes = hold(&held, codes_, 1)))
        return release(&held), NULL;
    if ((bits->itemsize != 2 && bits->itemsize != 4) || codes->itemsize != 1 || items(bits) != 2 * codes->len ||
        codes->len > UINT32_MAX / 2 || mantissa < 0 || mantissa >= 8 * bits->itemsize || exponent < 1 || count < 1 ||
        count > 16)
        return refuse(&held, "the codes do not fit the items");
    Py_BEGIN_ALLOW_THREADS
    int mask = exponent < 8 ? (1 << exponent) - 1 : 255;
    if (bits->itemsize == 2)
        code_16(bits->buf, codes->buf, codes->len, mantissa, (u16)mask, top, count - 1, found);
    else
        code_32(bits->buf, codes->buf, codes->len, mantissa, (u32)mask, top, count - 1, found);
    count_classes(found, classes);
    Py_END_ALLOW_THREADS
    release(&held);
    PyObject *counts = PyList_New(count);
    for (int class = 0; counts && class < count; class++)
        PyList_SET_ITEM(counts, class, PyLong_FromUnsignedLong(classes[class]));
    return counts;
}

static Py_ssize_t block_pairs(Py_ssize_t pairs, Py_ssize_t block)
{
    Py_ssize_t left = pairs - block * SORTED;
    return left < SORTED ? left : SORTED;
}

static PyObject *regroup(PyObject *args, int gathering)
{
    PyObject *from_, *codes_, *order_, *out_;
    Buffers held = {.count = 0};
    Py_buffer *from, *codes, *order, *out;
    if (!PyArg_ParseTuple(args, "OOOO", &from_, &codes_, &order_, &out_))
        return NULL;
    if (!(from = hold(&held, from_, 0)) || !(codes = hold(&held, codes_, 0)) || !(order = hold(&held, order_, 0)) ||
        !(out = hold(&held, out_, 1)))
        return release(&held), NULL;
    if (!alike(from, out) || (out->itemsize != 2 && out->itemsize != 4) || codes->itemsize != 1 ||
        items(out) != 2 * codes->len || codes->len > UINT32_MAX / 2)
        return refuse(&held, "the codes do not fit the items");
    const uint8_t *code = codes->buf, *ordered = order->buf;
    Py_ssize_t count = (codes->len + SORTED - 1) / SORTED;
    Tally *blocks = PyMem_RawMalloc(count * sizeof(Tally) + 1);
    if (!blocks)
        return release(&held), PyErr_NoMemory();
    Places at;
    uint32_t ends[16] = {0}, total[16] = {0}, seen = 0, position = 0;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t block = 0; block < count; block++) {
        tally(code + block * SORTED, block_pairs(codes->len, block), blocks[block]);
        count_classes(blocks[block], total);
    }
    for (Py_ssize_t i = 0; i < order->len; i++)
        if (ordered[i] < 16 && !(seen >> ordered[i] & 1)) {
            seen |= 1u << ordered[i];
            ends[ordered[i]] = position;
            position += total[ordered[i]];
        }
    for (Py_ssize_t block = 0; block < count && position == 2 * (uint32_t)codes->len; block++) {
        Py_ssize_t start = block * SORTED, pairs = block_pairs(codes->len, block);
        place(blocks[block], ends, &at);
        if (gathering && out->itemsize == 2)
            gather_16((u16 *)from->buf + 2 * start, code + start, out->buf, pairs, &at);
        else if (gathering)
            gather_32((u32 *)from->buf + 2 * start, code + start, out->buf, pairs, &at);
        else if (out->itemsize == 2)
            scatter_16(from->buf, code + start, (u16 *)out->buf + 2 * start, pairs, &at);
        else
            scatter_32(from->buf, code + start, (u32 *)out->buf + 2 * start, pairs, &at);
    }
    Py_END_ALLOW_THREADS
    PyMem_RawFree(blocks);
    if (position != 2 * (uint32_t)codes->len)
        return refuse(&held, "the order lacks a class");
    release(&held);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(gather_doc, "gather(differences, codes, order, out)\n--\n\n");
static PyObject *gather(PyObject *self, PyObject *args)
{
    return regroup(args, 1);
}

PyDoc_STRVAR(scatter_doc, "scatter(lists, codes, order, out)\n--\n\n");
static PyObject *scatter(PyObject *self, PyObject *args)
{
    return regroup(args, 0);
}

/* ---- Arithmetic ---- */

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

#define ARITHMETIC(W)                                                                                                \
    WIDE static void sums_##W(const u##W *old, const u##W *new, Py_ssize_t n, Sums *sums)                            \
    {                                                                                                                \
        float largest[LANES] = {0};                                                                                  \
        for (Py_ssize_t start = 0; start < n; start += ROW) {                                                        \
            Py_ssize_t stop = n - start < ROW ? n : start + ROW, i = start;                                          \
            float aa[LANES] = {0}, bb[LANES] = {0}, ab[LANES] = {0}, dd[LANES] = {0};                                \
            for (; i + LANES <= stop; i += LANES)                                                                    \
                for (int k = 0; k < LANES; k++) {                                                                    \
                    float a = value_##W(old[i + k]), b = value_##W(new[i + k]), d = b - a;                           \
                    float size = fabsf(d);                                                                           \
                    aa[k] += a * a;                                                                                  \
                    bb[k] += b * b;                                                                                  \
                    ab[k] += a * b;                                                                                  \
                    dd[k] += d * d;                                                                                  \
                    largest[k] = size > largest[k] ? size : largest[k];                                              \
                }                                                                                                    \
            for (int k = 0; i < stop; i++, k++) {                                                                    \
                float a = value_##W(old[i]), b = value_##W(new[i]), d = b - a, size = fabsf(d);                      \
                aa[k] += a * a;                                                                                      \
                bb[k] += b * b;                                                                                      \
                ab[k] += a * b;                                                                                      \
                dd[k] += d * d;                                                                                      \
                largest[k] = size > largest[k] ? size : largest[k];                                                  \
            }                                                                                                        \
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

PyDoc_STRVAR(weighted_sum_doc, "weighted_sum(inputs, coefficients, wide, out)\n--\n\n");
static PyObject *weighted_sum(PyObject *self, PyObject *args)
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

PyDoc_STRVAR(sums_doc, "sums(old, new)\n--\n\n");
static PyObject *sums(PyObject *self, PyObject *args)
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

PyDoc_STRVAR(subtract_doc, "subtract(old, new, out)\n--\n\n");
static PyObject *subtract(PyObject *self, PyObject *args)
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

PyDoc_STRVAR(squares_doc, "squares(bits)\n--\n\n");
static PyObject *squares(PyObject *self, PyObject *args)
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

/* ---- Packets ---- */

static int hexadecimal(uint8_t digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* The length that a packet's header says, or -1. */
static int packet_length(const uint8_t *header)
{
    int length = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hexadecimal(header[i]);
        if (digit < 0)
            return -1;
        length = length << 4 | digit;
    }
    return length;
}

PyDoc_STRVAR(read_packets_doc, "read_packets(descriptor, out, left, header)\n--\n\n");
static PyObject *read_packets(PyObject *self, PyObject *args)
{
    PyObject *out_, *header_;
    Buffers held = {.count = 0};
    Py_buffer *out, *header;
    int descriptor, length = 0;
    Py_ssize_t left, filled = 0, have = 0;
    if (!PyArg_ParseTuple(args, "iOnO", &descriptor, &out_, &left, &header_))
        return NULL;
    if (!(out = hold(&held, out_, 1)) || !(header = hold(&held, header_, 1)))
        return release(&held), NULL;
    if (header->len != 4 || left < 1)
        return refuse(&held, "a header has 4 bytes, and follows at least one");
    while (filled < out->len && left) {
        Py_ssize_t count = left < out->len - filled ? left : out->len - filled, got;
        struct iovec parts[2] = {{(uint8_t *)out->buf + filled, (size_t)count}, {header->buf, 4}};
        Py_BEGIN_ALLOW_THREADS
        do { /* the lock is taken again only where something else than contents comes */
            got = readv(descriptor, parts, count == left ? 2 : 1);
            if (got <= 0)
                break;
            have = got > count ? got - count : 0;
            left -= got - have;
            filled += got - have;
            length = have == 4 && filled < out->len ? packet_length(header->buf) : 0;
            if (length > 4) {
                left = length - 4;
                have = 0;
            }
            count = left < out->len - filled ? left : out->len - filled;
            parts[0].iov_base = (uint8_t *)out->buf + filled;
            parts[0].iov_len = (size_t)count;
        } while (count);
        Py_END_ALLOW_THREADS
        if (got < 0 && errno != EINTR) {
            release(&held);
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        if (got < 0 && PyErr_CheckSignals() < 0)
            return release(&held), NULL;
        if (got == 0)
            break;
    }
    release(&held);
    return Py_BuildValue("nnn", filled, left, have);
}

/* ---- The module ---- */

static PyMethodDef methods[] = {
    {"changed", changed, METH_VARARGS, changed_doc},
    {"positions", positions, METH_VARARGS, positions_doc},
    {"difference", difference, METH_VARARGS, difference_doc},
    {"add", add, METH_VARARGS, add_doc},
    {"split_planes", split_planes, METH_VARARGS, split_planes_doc},
    {"join_planes", join_planes, METH_VARARGS, join_planes_doc},
    {"write_fields", write_fields, METH_VARARGS, write_fields_doc},
    {"read_fields", read_fields, METH_VARARGS, read_fields_doc},
    {"excess", excess, METH_VARARGS, excess_doc},
    {"add_excess", add_excess, METH_VARARGS, add_excess_doc},
    {"classify", classify, METH_VARARGS, classify_doc},
    {"gather", gather, METH_VARARGS, gather_doc},
    {"scatter", scatter, METH_VARARGS, scatter_doc},
    {"weighted_sum", weighted_sum, METH_VARARGS, weighted_sum_doc},
    {"sums", sums, METH_VARARGS, sums_doc},
    {"subtract", subtract, METH_VARARGS, subtract_doc},
    {"squares", squares, METH_VARARGS, squares_doc},
    {"read_packets", read_packets, METH_VARARGS, read_packets_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "git_theta.kernels.native",
    .m_doc = "The innermost loops, compiled; see portable.py.",
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit_native(void)
{
    return PyModule_Create(&definition);
}
