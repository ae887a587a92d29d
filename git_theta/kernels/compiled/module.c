/* The module git_theta.kernels.native. */

#include "kernels.h"

static PyMethodDef methods[] = {
    {"changed", changed, METH_VARARGS, PyDoc_STR("See git_theta.kernels.portable.")},
    {"positions", positions, METH_VARARGS, PyDoc_STR("See git_theta.kernels.portable.")},
    {"difference", difference, METH_VARARGS, PyDoc_STR("See git_theta.kernels.portable.")},
    {"add", add, METH_VARARGS, PyDoc_STR("See git_theta.kernels.portable.")},
    {"split_planes", split_planes, METH_VARARGS, PyDoc_STR("See git_theta.kernels.portable.")},
    {"join_planes", join_planes, METH_VARARGS, PyDoc_STR("See git_theta.kernels.portable.")},
    {"write_fields", write_fields, METH_VARARGS, PyDoc_STR("See git_theta.kernels.portable.")},
    {"read_fields", read_fields, METH_VARARGS, PyDoc_STR("See git_theta.kernels.portable.")},
    {"excess", excess, METH_VARARGS, PyDoc_STR("See git_theta.kernels.portable.")},
    {"add_excess", add_excess, METH_VARARGS, PyDoc_STR("See git_theta.kernels.portable.")},
    {"classify", classify, METH_VARARGS, PyDoc_STR("See git_theta.kernels.portable.")},
    {"gather", gather, METH_VARARGS, PyDoc_STR("See git_theta.kernels.portable.")},
    {"scatter", scatter, METH_VARARGS, PyDoc_STR("See git_theta.kernels.portable.")},
    {"weighted_sum", weighted_sum, METH_VARARGS, PyDoc_STR("See git_theta.kernels.portable.")},
    {"sums", sums, METH_VARARGS, PyDoc_STR("See git_theta.kernels.portable.")},
    {"subtract", subtract, METH_VARARGS, PyDoc_STR("See git_theta.kernels.portable.")},
    {"squares", squares, METH_VARARGS, PyDoc_STR("See git_theta.kernels.portable.")},
    {"read_packets", read_packets, METH_VARARGS, PyDoc_STR("See git_theta.kernels.portable.")},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "git_theta.kernels.native",
    .m_doc = "The innermost loops, compiled; see git_theta.kernels.portable.",
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit_native(void)
{
    return PyModule_Create(&definition);
}
