/* What two arrays differ in. */

#include "kernels.h"

#define LOOPS(W)                                                                                                     \
    WIDE Py_ssize_t changed_##W(const u##W *first, const u##W *second, Py_ssize_t n)                                 \
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
    }

LOOPS(8)
LOOPS(16)
LOOPS(32)
LOOPS(64)

PyObject *changed(PyObject *self, PyObject *args)
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

PyObject *positions(PyObject *self, PyObject *args)
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

PyObject *difference(PyObject *self, PyObject *args)
{
    return predict(args, 0);
}

PyObject *add(PyObject *self, PyObject *args)
{
    return predict(args, 1);
}
