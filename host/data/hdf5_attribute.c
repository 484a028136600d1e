/* Scalar attributes. See hdf5.h. */
#include <stdlib.h>
#include <string.h>

#include "data/hdf5.h"

/* Where it cannot be found out, the library's description stays for the error that follows. */
bool facet_hdf5_has_attribute(hid_t location, const char *name) {
  FACET_HDF5_GUARD;
  return H5Aexists(location, name) > 0;
}

static facet_status set_attribute(hid_t location, const char *name, hid_t type, const void *value) {
  FACET_HDF5_SCOPED hid_t space = H5Screate(H5S_SCALAR);
  FACET_HDF5_SCOPED hid_t attribute = H5Acreate2(location, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  if (attribute < 0 || H5Awrite(attribute, type, value) < 0)
    return facet_hdf5_error(FACET_ERROR_IO, location, NULL, "cannot write attribute %s", name);
  return FACET_OK;
}

facet_status facet_hdf5_set_string(hid_t location, const char *name, const char *value) {
  FACET_HDF5_GUARD;
  FACET_HDF5_SCOPED hid_t type = H5Tcopy(H5T_C_S1);
  if (type < 0 || H5Tset_size(type, strlen(value) + 1) < 0 || H5Tset_cset(type, H5T_CSET_UTF8) < 0)
    return facet_hdf5_error(FACET_ERROR_IO, location, NULL, "cannot write attribute %s", name);
  return set_attribute(location, name, type, value);
}

facet_status facet_hdf5_set_int64(hid_t location, const char *name, int64_t value) {
  FACET_HDF5_GUARD;
  return set_attribute(location, name, H5T_NATIVE_INT64, &value);
}

facet_status facet_hdf5_set_uint64(hid_t location, const char *name, uint64_t value) {
  FACET_HDF5_GUARD;
  return set_attribute(location, name, H5T_NATIVE_UINT64, &value);
}

facet_status facet_hdf5_set_double(hid_t location, const char *name, double value) {
  FACET_HDF5_GUARD;
  return set_attribute(location, name, H5T_NATIVE_DOUBLE, &value);
}

/* Opens an attribute that must be one value of the class. */
static facet_status open_scalar(hid_t location, const char *name, H5T_class_t class, const char *expected,
                                hid_t *attribute, hid_t *type) {
  if (!facet_hdf5_has_attribute(location, name))
    return facet_hdf5_error(FACET_ERROR_DATA, location, NULL, "attribute %s is missing", name);
  if ((*attribute = H5Aopen(location, name, H5P_DEFAULT)) < 0 || (*type = H5Aget_type(*attribute)) < 0)
    return facet_hdf5_error(FACET_ERROR_DATA, location, NULL, "cannot read attribute %s", name);
  FACET_HDF5_SCOPED hid_t space = H5Aget_space(*attribute);
  if (H5Tget_class(*type) != class || H5Sget_simple_extent_npoints(space) != 1)
    return facet_hdf5_error(FACET_ERROR_DATA, location, NULL, "attribute %s: expected %s", name, expected);
  return FACET_OK;
}

static facet_status read_variable_string(hid_t location, const char *name, hid_t attribute, hid_t type, char *text,
                                         size_t n_bytes) {
  char *stored = NULL;
  if (H5Aread(attribute, type, &stored) < 0 || !stored)
    return facet_hdf5_error(FACET_ERROR_DATA, location, NULL, "cannot read attribute %s", name);
  const size_t n = strlen(stored);
  if (n < n_bytes) memcpy(text, stored, n + 1);
  H5free_memory(stored);
  if (n >= n_bytes) return facet_hdf5_error(FACET_ERROR_DATA, location, NULL, "attribute %s is too long", name);
  return FACET_OK;
}

facet_status facet_hdf5_get_string(hid_t location, const char *name, char *text, size_t n_bytes) {
  FACET_HDF5_GUARD;
  FACET_HDF5_SCOPED hid_t attribute = -1;
  FACET_HDF5_SCOPED hid_t type = -1;
  FACET_TRY(open_scalar(location, name, H5T_STRING, "a string", &attribute, &type));
  FACET_HDF5_SCOPED hid_t memory = H5Tcopy(H5T_C_S1);
  H5Tset_cset(memory, H5Tget_cset(type));
  if (H5Tis_variable_str(type) > 0) {
    H5Tset_size(memory, H5T_VARIABLE);
    return read_variable_string(location, name, attribute, memory, text, n_bytes);
  }
  if (H5Tget_size(type) > n_bytes)
    return facet_hdf5_error(FACET_ERROR_DATA, location, NULL, "attribute %s is too long", name);
  memset(text, 0, n_bytes);
  if (H5Tset_size(memory, n_bytes) < 0 || H5Aread(attribute, memory, text) < 0)
    return facet_hdf5_error(FACET_ERROR_DATA, location, NULL, "cannot read attribute %s", name);
  text[n_bytes - 1] = 0;
  return FACET_OK;
}

/* Reads an integer of any width, checking that its value is in the range of the wanted signedness. */
static facet_status get_integer(hid_t location, const char *name, bool is_signed, void *value) {
  FACET_HDF5_SCOPED hid_t attribute = -1;
  FACET_HDF5_SCOPED hid_t type = -1;
  FACET_TRY(open_scalar(location, name, H5T_INTEGER, "an integer", &attribute, &type));
  const bool stored_signed = H5Tget_sign(type) != H5T_SGN_NONE;
  uint64_t bits = 0;
  if (H5Tget_size(type) > 8 || H5Aread(attribute, stored_signed ? H5T_NATIVE_INT64 : H5T_NATIVE_UINT64, &bits) < 0)
    return facet_hdf5_error(FACET_ERROR_DATA, location, NULL, "cannot read attribute %s", name);
  if (stored_signed != is_signed && bits > INT64_MAX)
    return facet_hdf5_error(FACET_ERROR_DATA, location, NULL, "attribute %s is out of range", name);
  memcpy(value, &bits, sizeof bits);
  return FACET_OK;
}

facet_status facet_hdf5_get_int64(hid_t location, const char *name, int64_t *value) {
  FACET_HDF5_GUARD;
  return get_integer(location, name, true, value);
}

facet_status facet_hdf5_get_uint64(hid_t location, const char *name, uint64_t *value) {
  FACET_HDF5_GUARD;
  return get_integer(location, name, false, value);
}

facet_status facet_hdf5_get_double(hid_t location, const char *name, double *value) {
  FACET_HDF5_GUARD;
  FACET_HDF5_SCOPED hid_t attribute = -1;
  FACET_HDF5_SCOPED hid_t type = -1;
  FACET_TRY(open_scalar(location, name, H5T_FLOAT, "a float", &attribute, &type));
  if (H5Aread(attribute, H5T_NATIVE_DOUBLE, value) < 0)
    return facet_hdf5_error(FACET_ERROR_DATA, location, NULL, "cannot read attribute %s", name);
  return FACET_OK;
}

facet_status facet_hdf5_set_format(hid_t file, const char *format, int64_t version) {
  FACET_TRY(facet_hdf5_set_string(file, "facet_format", format));
  return facet_hdf5_set_int64(file, "facet_version", version);
}

facet_status facet_hdf5_check_format(hid_t file, const char *format, int64_t version) {
  char stored_format[64];
  int64_t stored_version = 0;
  FACET_TRY(facet_hdf5_get_string(file, "facet_format", stored_format, sizeof stored_format));
  if (strcmp(stored_format, format))
    return facet_hdf5_error(FACET_ERROR_DATA, file, NULL, "facet_format is \"%s\", expected \"%s\"", stored_format,
                            format);
  FACET_TRY(facet_hdf5_get_int64(file, "facet_version", &stored_version));
  if (stored_version < 1 || stored_version > version)
    return facet_hdf5_error(FACET_ERROR_DATA, file, NULL, "facet_version is %lld, expected 1 to %lld",
                            (long long)stored_version, (long long)version);
  return FACET_OK;
}
