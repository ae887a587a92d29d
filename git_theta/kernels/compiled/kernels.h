/* The innermost loops, compiled: what all files share. The package `portable` beside this folder holds the same
   functions in NumPy, file by file, and says what each of them does.

   Every function takes C-contiguous buffers, checks that their lengths fit together before it touches them, and
   lets go of Python's lock while it runs. Integers in buffers are little-endian, as on every machine that this is
   built for. */

#ifndef GIT_THETA_KERNELS_H
#define GIT_THETA_KERNELS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

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

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

typedef struct {
    Py_buffer views[ARGUMENTS];
    int count;
} Buffers;

static inline void release(Buffers *buffers)
{
    for (int i = 0; i < buffers->count; i++)
        PyBuffer_Release(&buffers->views[i]);
    buffers->count = 0;
}

static inline Py_buffer *hold(Buffers *buffers, PyObject *object, int writable)
{
    Py_buffer *view = &buffers->views[buffers->count];
    if (PyObject_GetBuffer(object, view, writable ? PyBUF_CONTIG : PyBUF_CONTIG_RO) < 0)
        return NULL;
    buffers->count++;
    return view;
}

static inline PyObject *refuse(Buffers *buffers, const char *why)
{
    release(buffers);
    PyErr_SetString(PyExc_ValueError, why);
    return NULL;
}

static inline Py_ssize_t items(const Py_buffer *view)
{
    return view->itemsize ? view->len / view->itemsize : 0;
}

static inline int alike(const Py_buffer *first, const Py_buffer *second)
{
    return first->len == second->len && first->itemsize == second->itemsize;
}

static inline int known_width(const Py_buffer *view)
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

/* How many items differ; by differences.c, for arithmetic.c as well. */
Py_ssize_t changed_8(const u8 *first, const u8 *second, Py_ssize_t n);
Py_ssize_t changed_16(const u16 *first, const u16 *second, Py_ssize_t n);
Py_ssize_t changed_32(const u32 *first, const u32 *second, Py_ssize_t n);
Py_ssize_t changed_64(const u64 *first, const u64 *second, Py_ssize_t n);

/* The functions of the module. */
PyObject *changed(PyObject *self, PyObject *args);
PyObject *positions(PyObject *self, PyObject *args);
PyObject *difference(PyObject *self, PyObject *args);
PyObject *add(PyObject *self, PyObject *args);
PyObject *split_planes(PyObject *self, PyObject *args);
PyObject *join_planes(PyObject *self, PyObject *args);
PyObject *write_fields(PyObject *self, PyObject *args);
PyObject *read_fields(PyObject *self, PyObject *args);
PyObject *excess(PyObject *self, PyObject *args);
PyObject *add_excess(PyObject *self, PyObject *args);
PyObject *classify(PyObject *self, PyObject *args);
PyObject *gather(PyObject *self, PyObject *args);
PyObject *scatter(PyObject *self, PyObject *args);
PyObject *weighted_sum(PyObject *self, PyObject *args);
PyObject *sums(PyObject *self, PyObject *args);
PyObject *subtract(PyObject *self, PyObject *args);
PyObject *squares(PyObject *self, PyObject *args);
PyObject *read_packets(PyObject *self, PyObject *args);

#endif
