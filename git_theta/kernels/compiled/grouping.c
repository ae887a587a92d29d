/* Items sorted by the exponents of others, and back. */

#include "kernels.h"

#define SORTED ((Py_ssize_t)128 << 10) /* pairs that are sorted at a time */
#define STAGED 8192                    /* pairs that are sorted at a time on the way there */
#define CODES 256                      /* of pairs: 16 * class of the second item + class of the first */

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

PyObject *classify(PyObject *self, PyObject *args)
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

PyObject *gather(PyObject *self, PyObject *args)
{
    return regroup(args, 1);
}

PyObject *scatter(PyObject *self, PyObject *args)
{
    return regroup(args, 0);
}
