/* Contents of Git's packets. */

#include <errno.h>
#include <sys/uio.h>
#include "kernels.h"

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

PyObject *read_packets(PyObject *self, PyObject *args)
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
