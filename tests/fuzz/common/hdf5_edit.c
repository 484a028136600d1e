/* Recipes: a base file, and changes to it that the library makes. Whatever the bytes say is possible or left out. */
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hdf5_file.h"

enum { MAX_NAMES = 64, MAX_CHANGES = 12 };

static fuzz_file bases[FUZZ_HDF5_LAYOUTS];
static char object_names[MAX_NAMES][64], attribute_names[MAX_NAMES][64]; /* of all objects of the base file */
static int n_objects, n_attributes;

static bool is_raw(void) {
  static int raw = -1;
  if (raw < 0) raw = getenv("FACET_FUZZ_RAW") != NULL;
  return raw;
}

/* ---- what the base file holds ------------------------------------------------------------------------------------ */

static herr_t note_attribute(hid_t object, const char *name, const H5A_info_t *info, void *data) {
  (void)object, (void)info, (void)data;
  for (int i = 0; i < n_attributes; i++)
    if (strcmp(attribute_names[i], name) == 0) return 0;
  if (n_attributes < MAX_NAMES) snprintf(attribute_names[n_attributes++], sizeof attribute_names[0], "%s", name);
  return 0;
}

static herr_t note_object(hid_t root, const char *name, const H5O_info_t *info, void *data) {
  (void)info, (void)data;
  const hid_t object = H5Oopen(root, name, H5P_DEFAULT);
  if (n_objects < MAX_NAMES) snprintf(object_names[n_objects++], sizeof object_names[0], "%s", name);
  H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, NULL, note_attribute, NULL);
  H5Oclose(object);
  return 0;
}

static void free_bases(void) {
  for (int i = 0; i < FUZZ_HDF5_LAYOUTS; i++) facet_memory_free(bases[i].data);
}

void fuzz_hdf5_begin(const char *path) {
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  H5set_free_list_limits(-1, -1, -1, -1, -1,
                         -1); /* every open file has 512 kB of tables: kept, they cost no page faults */
  fuzz_hdf5_copies(path, bases);
  const hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
  FUZZ_CHECK(file >= 0 && H5Ovisit2(file, H5_INDEX_NAME, H5_ITER_INC, note_object, NULL, H5O_INFO_BASIC) >= 0,
             "the base file cannot be listed");
  H5Fclose(file);
  atexit(free_bases);
}

/* ---- bytes to choices -------------------------------------------------------------------------------------------- */

typedef struct recipe {
  const uint8_t *at;
  size_t n_bytes;
} recipe;

static uint64_t take(recipe *r, size_t width) {
  uint64_t value = 0;
  const size_t n = width < r->n_bytes ? width : r->n_bytes;
  memcpy(&value, r->at, n);
  r->at += n;
  r->n_bytes -= n;
  return value;
}

static const char *take_object(recipe *r) {
  return object_names[take(r, 1) % (uint64_t)n_objects];
}

static const char *take_attribute(recipe *r) {
  return attribute_names[take(r, 1) % (uint64_t)n_attributes];
}

/* A number of rows or elements: small ones, and sizes that nothing can hold. */
static hsize_t take_size(recipe *r) {
  const uint64_t byte = take(r, 1);
  return byte < 240 ? byte % 20 : byte < 248 ? (hsize_t)1 << (4 * (byte - 239)) : (hsize_t)1 << (8 * (byte - 247) - 2);
}

/* A new type; the caller closes it. */
static hid_t take_type(recipe *r) {
  const hid_t plain[] = {H5T_STD_I32LE,  H5T_STD_I64LE, H5T_IEEE_F32LE, H5T_STD_U8LE,  H5T_IEEE_F64LE, H5T_STD_I8LE,
                         H5T_STD_I16BE,  H5T_STD_U32LE, H5T_STD_U64LE,  H5T_STD_I32BE, H5T_STD_I64BE,  H5T_IEEE_F32BE,
                         H5T_IEEE_F64BE, H5T_STD_B32LE, H5T_UNIX_D64LE, H5T_C_S1,      H5T_STD_REF_OBJ};
  enum { N_PLAIN = sizeof plain / sizeof *plain };
  const uint64_t kind = take(r, 1) % (N_PLAIN + 8), detail = take(r, 1);
  if (kind < N_PLAIN) return H5Tcopy(plain[kind]);
  hid_t type = H5Tcopy(kind - N_PLAIN < 2    ? H5T_C_S1
                       : kind - N_PLAIN == 2 ? H5T_IEEE_F32LE
                                             : H5T_STD_I32LE),
        other = -1;
  const hsize_t dims[] = {1 + detail % 4};
  switch (kind - N_PLAIN) {
  case 0:
    H5Tset_size(type, 1 + detail % 80);
    H5Tset_strpad(type, detail % 3 ? H5T_STR_NULLTERM : H5T_STR_SPACEPAD);
    break;
  case 1:
    H5Tset_size(type, H5T_VARIABLE);
    break;
  case 2: /* half precision, and floats of odd sizes */
    H5Tset_fields(type, 15, 10, 5, 0, 10);
    H5Tset_size(type, 2 + detail % 10);
    break;
  case 3:
    H5Tset_precision(type, 1 + detail % 32);
    break;
  case 4:
    H5Tset_size(type, 1 + detail % 16);
    break;
  case 5:
    other = H5Tvlen_create(type);
    break;
  case 6:
    other = H5Tarray_create2(type, 1, dims);
    break;
  default:
    other = H5Tcreate(H5T_COMPOUND, 8);
    H5Tinsert(other, "x", detail % 5, type);
  }
  if (other >= 0) H5Tclose(type);
  return other >= 0 ? other : type;
}

/* ---- changes ----------------------------------------------------------------------------------------------------- */

static void poke(hid_t file, recipe *r) {
  const hid_t set = H5Dopen2(file, take_object(r), H5P_DEFAULT);
  if (set < 0) return;
  const hid_t type = H5Dget_type(set), space = H5Dget_space(set);
  const size_t width = H5Tget_size(type), n = (size_t)H5Sget_simple_extent_npoints(space);
  const size_t first = (size_t)take(r, 1), count = 1 + (size_t)take(r, 1) % 8;
  const uint64_t value = take(r, 8), step = (uint64_t)(int8_t)take(r, 1);
  char *data = n > 0 && n < 100000 && H5Tget_class(type) <= H5T_FLOAT ? calloc(n, width) : NULL;
  if (data && H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0) {
    for (size_t i = 0; i < count; i++) {
      const uint64_t element = value + step * i;
      memcpy(data + (first + i) % n * width, &element, width < 8 ? width : 8);
    }
    H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data);
  }
  free(data);
  H5Sclose(space), H5Tclose(type), H5Dclose(set);
}

/* Whether facet decodes the chunks itself: those of another size than their rows make the library read beyond its buffer. */
static bool is_decoded_by_facet(hid_t set, hid_t creation) {
  const hid_t type = H5Dget_type(set);
  unsigned flags;
  size_t n = 0;
  hsize_t chunk[8];
  const bool has_checksum = H5Pget_filter_by_id2(creation, H5Z_FILTER_FLETCHER32, &flags, &n, NULL, 0, NULL, NULL) >= 0;
  const bool is_native = H5Tequal(type, H5T_NATIVE_INT32) > 0 || H5Tequal(type, H5T_NATIVE_INT64) > 0 ||
                         H5Tequal(type, H5T_NATIVE_FLOAT) > 0;
  H5Tclose(type);
  return fuzz.decodes_chunks && is_native && !has_checksum && H5Pget_chunk(creation, 8, chunk) == 1;
}

/* Stored bytes of a chunk, compressed or not; their number, and the mask of filters that are said to have been skipped. */
static void poke_chunk(hid_t file, recipe *r) {
  const hid_t set = H5Dopen2(file, take_object(r), H5P_DEFAULT);
  if (set < 0) return;
  const hid_t creation = H5Dget_create_plist(set);
  const uint64_t row = take(r, 1), at = take(r, 2), value = take(r, 2);
  uint32_t skipped = 0, mask = (uint32_t)take(r, 1);
  uint8_t bytes[4096] = {0};
  hsize_t chunk[8] = {1}, offset[8] = {0}, n_bytes = 0;
  const bool is_chunked = H5Pget_layout(creation) == H5D_CHUNKED && H5Pget_chunk(creation, 8, chunk) > 0;
  offset[0] = row % 8 * chunk[0];
  if (is_chunked && H5Dget_chunk_storage_size(set, offset, &n_bytes) >= 0 && n_bytes > 0 && n_bytes < sizeof bytes &&
      H5Dread_chunk(set, H5P_DEFAULT, offset, &skipped, bytes) >= 0) {
    memcpy(bytes + at % n_bytes, &value, n_bytes - at % n_bytes < 2 ? 1 : 2);
    if (is_decoded_by_facet(set, creation)) {
      if (at % 8 == 0) n_bytes = 1 + at / 8 % (sizeof bytes - 1);
      if (mask >= 128) skipped = mask % 8;
    }
    H5Dwrite_chunk(set, H5P_DEFAULT, skipped, offset, (size_t)n_bytes, bytes);
  }
  H5Pclose(creation), H5Dclose(set);
}

static hid_t make_creation(recipe *r, int rank, const hsize_t *dims) {
  const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
  const uint64_t how = take(r, 1) % 8, filters = take(r, 1), rows = 1 + take(r, 1) % 16;
  hsize_t chunk[8];
  for (int i = 0; i < rank; i++) chunk[i] = i == 0 ? rows : dims[i] > 0 && dims[i] < 100 ? dims[i] : 3;
  if (how == 0) H5Pset_layout(creation, H5D_COMPACT);
  if (how == 1) H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY);
  if (how == 2) H5Pset_alloc_time(creation, H5D_ALLOC_TIME_LATE);
  if (how == 3) H5Pset_external(creation, fuzz_path("external.bin"), 0, H5F_UNLIMITED);
  if (how == 4) H5Pset_layout(creation, H5D_VIRTUAL);
  if (how > 4 && rank > 0) H5Pset_chunk(creation, rank, chunk);
  if (filters & 1) H5Pset_shuffle(creation);
  if (filters & 2) H5Pset_deflate(creation, 1);
  if (filters & 4) H5Pset_fletcher32(creation);
  if (filters % 16 == 8) H5Pset_filter(creation, 32004, H5Z_FLAG_OPTIONAL, 0, NULL); /* LZ4, which is not there */
  return creation;
}

/* Another data set in the place of an object: type, shape, layout, filters. Written in part, if at all. */
static void replace(hid_t file, recipe *r) {
  const char *name = take_object(r);
  const uint64_t shape = take(r, 1), n_written = take(r, 1);
  const hid_t type = take_type(r);
  hsize_t dims[6] = {0};
  const int rank = (int)(shape % 6);
  for (int i = 0; i < rank; i++) dims[i] = take_size(r);
  const hid_t space = shape < 240 ? H5Screate_simple(rank, dims, NULL) : H5Screate(H5S_NULL);
  const hid_t creation = make_creation(r, rank, dims);
  uint64_t n_bytes = H5Tget_size(type);
  for (int i = 0; i < rank; i++)
    if (__builtin_mul_overflow(n_bytes, dims[i], &n_bytes)) n_bytes = UINT64_MAX;
  if (H5Pget_layout(creation) == H5D_CONTIGUOUS && n_bytes > 1 << 20)
    H5Pset_alloc_time(creation, H5D_ALLOC_TIME_LATE); /* no such file is made */
  H5Ldelete(file, name, H5P_DEFAULT);
  const hid_t set = H5Dcreate2(file, name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
  const bool is_plain = H5Tget_class(type) <= H5T_STRING && H5Tis_variable_str(type) <= 0;
  char *data = is_plain && n_written && n_bytes <= 1 << 16 ? malloc(n_bytes + 1) : NULL;
  if (set >= 0 && data) {
    memset(data, (int)n_written % 4, n_bytes);
    H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data);
  }
  free(data);
  H5Dclose(set), H5Pclose(creation), H5Sclose(space), H5Tclose(type);
}

static void link_object(hid_t file, recipe *r) {
  const char *name = take_object(r), *target = take_object(r);
  const uint64_t kind = take(r, 1) % 6;
  if (kind == 5) {
    H5Lmove(file, target, file, name, H5P_DEFAULT, H5P_DEFAULT);
    return;
  }
  H5Ldelete(file, name, H5P_DEFAULT);
  if (kind == 1) H5Lcreate_soft(target, file, name, H5P_DEFAULT, H5P_DEFAULT);
  if (kind == 2) H5Lcreate_external("other.h5", target, file, name, H5P_DEFAULT, H5P_DEFAULT);
  if (kind == 3) H5Lcreate_hard(file, target, file, name, H5P_DEFAULT, H5P_DEFAULT);
  if (kind == 4) H5Gclose(H5Gcreate2(file, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}

static void set_attribute(hid_t file, recipe *r) {
  const hid_t object = H5Oopen(file, take_object(r), H5P_DEFAULT);
  const char *name = take_attribute(r), *pointers[8] = {0};
  const uint64_t kind = take(r, 1);
  char value[256] = "";
  H5Adelete(object, name);
  if (kind % 8 == 0) {
    H5Oclose(object);
    return;
  }
  const hid_t type = kind % 8 < 4 ? H5Tcopy(H5T_STD_I64LE) : take_type(r);
  const hsize_t n = kind / 8 % 4;
  const hid_t space = kind < 200   ? H5Screate(H5S_SCALAR)
                      : kind < 220 ? H5Screate(H5S_NULL)
                                   : H5Screate_simple(1, &n, NULL);
  const hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  const size_t n_bytes = H5Tget_size(type) * (size_t)H5Sget_simple_extent_npoints(space);
  for (size_t i = 0; i < 32 && r->n_bytes > 0 && i < n_bytes; i++) value[i] = (char)take(r, 1);
  for (int i = 0; i < 8; i++) pointers[i] = value;
  if (attribute >= 0 && H5Tis_variable_str(type) > 0)
    H5Awrite(attribute, type, pointers);
  else if (attribute >= 0 && H5Tget_class(type) <= H5T_STRING && n_bytes <= sizeof value)
    H5Awrite(attribute, type, value);
  H5Aclose(attribute), H5Sclose(space), H5Tclose(type), H5Oclose(object);
}

static void apply(hid_t file, recipe *r) {
  bool is_over = false; /* a damaged chunk is read by facet alone */
  for (int i = 0; i < MAX_CHANGES && r->n_bytes > 0 && !is_over; i++) {
    const uint64_t byte = take(r, 1), kind = byte < 248 ? byte % 8 : 8;
    if (kind < 3) poke(file, r);
    if (kind == 3 || kind == 4) replace(file, r);
    if (kind == 5) link_object(file, r);
    if (kind == 6 || kind == 7) set_attribute(file, r);
    if (kind == 8) poke_chunk(file, r);
    is_over = kind == 8;
  }
}

void fuzz_hdf5_make(const uint8_t *data, size_t n_bytes, const char *path) {
  recipe r = {data, n_bytes};
  if (n_bytes >= 8 && memcmp(data, "\x89HDF\r\n\x1a\n", 8) == 0) {
    fuzz_write(path, data, n_bytes);
    return;
  }
  const fuzz_file *base = &bases[take(&r, 1) % FUZZ_HDF5_LAYOUTS];
  fuzz_write(path, base->data, base->n_bytes);
  if (r.n_bytes == 0) return;
  const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
  FUZZ_CHECK(file >= 0, "the base file cannot be opened");
  apply(file, &r);
  H5Fclose(file);
  H5Eclear2(H5E_DEFAULT);
}

void fuzz_hdf5_seeds(fuzz_emit emit) {
  static const char *const names[] = {"facet", "contiguous", "chunked", "deflated", "checksummed", "compact"};
  for (uint8_t i = 0; i < FUZZ_HDF5_LAYOUTS; i++) {
    if (is_raw()) {
      emit(names[i], bases[i].data, bases[i].n_bytes);
      continue;
    }
    emit(names[i], &i, 1);
    for (int o = 0; o < n_objects && (i == 0 || i == 3); o++) { /* of each object an element, then a shape */
      char name[64];
      const uint8_t damaged[] = {i, 248, (uint8_t)o, 0, 9, 0, 1, 2, 0};
      const uint8_t poked[] = {i, 0, (uint8_t)o, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 1},
                    replaced[] = {i, 3, (uint8_t)o, 1, 1, 0, 0, 6, 5, 0, 4};
      snprintf(name, sizeof name, "%s-element-%d", names[i], o);
      emit(name, poked, sizeof poked);
      snprintf(name, sizeof name, "%s-chunk-%d", names[i], o);
      if (i == 3) emit(name, damaged, sizeof damaged);
      snprintf(name, sizeof name, "%s-shape-%d", names[i], o);
      emit(name, replaced, sizeof replaced);
    }
  }
}
