#include "fault/replay.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "facet/file.h"
#include "fault/shim.h"

#define MAX_OBJECTS 1024
#define MAX_OPERATIONS 16384
#define MAX_ENTRIES 64
#define MAX_STATES 65536
#define ROOT 0

typedef enum kind { SET, UNSET, WRITE, RESIZE, SYNC, MARK } kind;

typedef struct operation {
  int call; /* its number: a rename is two operations of one call */
  kind kind;
  int object; /* the directory, or the file */
  char name[96];
  int child; /* SET */
  int64_t offset, size;
  const unsigned char *data;
} operation;

typedef struct object {
  enum { FILE_OBJECT, DIRECTORY, LINK } type;
  char target[96];  /* of a link */
  int64_t capacity; /* the largest size that a file had */
  /* while a state is made */
  int n_entries;
  char name[MAX_ENTRIES][96];
  int child[MAX_ENTRIES];
  int64_t size;
  unsigned char *data;
} object;

struct replay {
  char root[256];
  int n_calls, n_objects, n_operations;
  object objects[MAX_OBJECTS];
  operation operations[MAX_OPERATIONS];
  int units_of, n_units; /* what the next is for: the first units_of calls */
  uint64_t entry_units;
  int unit[MAX_OPERATIONS]; /* of a pending operation; −1: it is safe */
  int n_states;
  uint64_t states[MAX_STATES];
};

/* ---- entries ----------------------------------------------------------------------------------------------------- */

static int find_entry(const object *directory, const char *name) {
  for (int i = 0; i < directory->n_entries; i++)
    if (strcmp(directory->name[i], name) == 0) return i;
  return -1;
}

static void set_entry(object *directory, const char *name, int child) {
  int i = find_entry(directory, name);
  if (i < 0) i = directory->n_entries++;
  cr_assert_lt(i, MAX_ENTRIES);
  snprintf(directory->name[i], sizeof directory->name[i], "%s", name);
  directory->child[i] = child;
}

static void unset_entry(object *directory, const char *name) {
  const int i = find_entry(directory, name), last = directory->n_entries - 1;
  if (i < 0) return;
  memmove(directory->name[i], directory->name[last], sizeof directory->name[i]);
  directory->child[i] = directory->child[last];
  directory->n_entries = last;
}

/* The directory of a path and its last name. */
static int find_parent(const replay *r, const char *path, char name[96]) {
  int at = ROOT;
  char copy[256], *rest;
  snprintf(copy, sizeof copy, "%s", path + strlen(r->root));
  name[0] = '\0';
  for (char *word = strtok_r(copy, "/", &rest); word; word = strtok_r(NULL, "/", &rest)) {
    if (name[0]) {
      const int i = find_entry(&r->objects[at], name);
      cr_assert(i >= 0, "%s: no %s", path, name);
      at = r->objects[at].child[i];
    }
    snprintf(name, 96, "%s", word);
  }
  return at;
}

static int find_object(const replay *r, const char *path) {
  char name[96];
  const int parent = find_parent(r, path, name);
  if (!name[0]) return parent;
  const int i = find_entry(&r->objects[parent], name);
  return i < 0 ? -1 : r->objects[parent].child[i];
}

/* ---- from calls to operations ------------------------------------------------------------------------------------ */

static operation *add(replay *r, int call, kind k, int at) {
  cr_assert_lt(r->n_operations, MAX_OPERATIONS);
  operation *o = &r->operations[r->n_operations++];
  *o = (operation){.call = call, .kind = k, .object = at};
  return o;
}

static void add_entry(replay *r, int call, kind k, const char *path, int child) {
  char name[96];
  const int parent = find_parent(r, path, name);
  operation *o = add(r, call, k, parent);
  snprintf(o->name, sizeof o->name, "%s", name);
  o->child = child;
  if (k == SET)
    set_entry(&r->objects[parent], name, child);
  else
    unset_entry(&r->objects[parent], name);
}

static int add_object(replay *r, int type) {
  cr_assert_lt(r->n_objects, MAX_OBJECTS);
  r->objects[r->n_objects].type = type;
  return r->n_objects++;
}

static void add_size(replay *r, int call, int file, int64_t size) {
  add(r, call, RESIZE, file)->size = size;
  if (size > r->objects[file].capacity) r->objects[file].capacity = size;
}

/* In two halves, either of which may be lost. */
static void add_write(replay *r, int call, int file, const shim_call *c) {
  const int64_t half = c->result / 2, end = c->offset + c->result;
  for (int i = 0; i < 2; i++) {
    operation *o = add(r, call, WRITE, file);
    o->offset = c->offset + (i ? half : 0);
    o->size = i ? c->result - half : half;
    o->data = c->data + (i ? half : 0);
  }
  if (end > r->objects[file].capacity) r->objects[file].capacity = end;
}

static void add_rename(replay *r, int call, const shim_call *c) {
  const int from = find_object(r, c->path), to = find_object(r, c->to);
  if (c->exchange)
    add_entry(r, call, SET, c->path, to);
  else
    add_entry(r, call, UNSET, c->path, 0);
  add_entry(r, call, SET, c->to, from);
}

static void add_call(replay *r, int i, const shim_call *c) {
  const char *name = c->name;
  if (strcmp(name, "mark") == 0) add(r, i, MARK, ROOT)->size = c->size;
  if (c->result < 0 || strcmp(name, "mark") == 0 || strcmp(name, "close") == 0) return;
  if (strcmp(name, "read") == 0 || strcmp(name, "list") == 0) return;
  if (strcmp(name, "mkdir") == 0 && strcmp(c->path, r->root) == 0) return;
  if (strcmp(name, "open") == 0) {
    if (c->created)
      add_entry(r, i, SET, c->path, add_object(r, FILE_OBJECT));
    else if (c->truncated)
      add_size(r, i, find_object(r, c->path), 0);
  } else if (strcmp(name, "mkdir") == 0) {
    add_entry(r, i, SET, c->path, add_object(r, DIRECTORY));
  } else if (strcmp(name, "symlink") == 0) {
    const int link = add_object(r, LINK);
    snprintf(r->objects[link].target, sizeof r->objects[link].target, "%.95s", c->to);
    add_entry(r, i, SET, c->path, link);
  } else if (strcmp(name, "rename") == 0) {
    add_rename(r, i, c);
  } else if (strcmp(name, "unlink") == 0 || strcmp(name, "rmdir") == 0) {
    add_entry(r, i, UNSET, c->path, 0);
  } else if (strcmp(name, "fsync") == 0) {
    add(r, i, SYNC, find_object(r, c->path));
  } else if (strcmp(name, "ftruncate") == 0) {
    add_size(r, i, find_object(r, c->path), c->size);
  } else {
    cr_assert(strcmp(name, "write") == 0, "the replay does not know %s", name);
    add_write(r, i, find_object(r, c->path), c);
  }
}

replay *replay_create(const char *root) {
  replay *r = calloc(1, sizeof *r);
  cr_assert(r);
  snprintf(r->root, sizeof r->root, "%s", root);
  r->units_of = -1;
  r->n_calls = shim_n_calls();
  add_object(r, DIRECTORY);
  for (int i = 0; i < r->n_calls; i++) add_call(r, i, shim_get(i));
  for (int i = 0; i < r->n_objects; i++) r->objects[i].data = calloc(1, (size_t)r->objects[i].capacity + 1);
  return r;
}

void replay_destroy(replay **r) {
  for (int i = 0; i < (*r)->n_objects; i++) free((*r)->objects[i].data);
  free(*r);
  *r = NULL;
}

int replay_n(const replay *r) {
  return r->n_calls;
}

int64_t replay_mark(const replay *r, int n) {
  int64_t mark = -1;
  for (int i = 0; i < r->n_operations && r->operations[i].call < n; i++)
    if (r->operations[i].kind == MARK) mark = r->operations[i].size;
  return mark;
}

/* ---- what is pending --------------------------------------------------------------------------------------------- */

static bool is_entry(const operation *o) {
  return o->kind == SET || o->kind == UNSET;
}

/* True if the object of operation i was synced later, among the first n calls. */
static bool is_safe(const replay *r, int i, int n) {
  for (int k = i + 1; k < r->n_operations && r->operations[k].call < n; k++)
    if (r->operations[k].kind == SYNC && r->operations[k].object == r->operations[i].object) return true;
  return false;
}

/* Number of operations of a file that are pending; they are marked with unit −2. */
static int n_pending_data(const replay *r, int file, int n) {
  int n_pending = 0;
  for (int i = 0; i < r->n_operations && r->operations[i].call < n; i++)
    n_pending += r->operations[i].object == file && r->unit[i] == -2;
  return n_pending;
}

static int assign_data_units(replay *r, int n, int n_units) {
  for (int file = 0; file < r->n_objects; file++) {
    const int n_pending = n_pending_data(r, file, n), half = n_pending / 2;
    int seen = 0;
    for (int i = 0; n_pending > 0 && i < r->n_operations && r->operations[i].call < n; i++)
      if (r->operations[i].object == file && r->unit[i] == -2) r->unit[i] = n_units + (seen++ < half ? 0 : half > 0);
    n_units += n_pending == 0 ? 0 : half > 0 ? 2 : 1;
  }
  return n_units;
}

static void assign_units(replay *r, int n) {
  int n_units = 0, last_call = -1;
  for (int i = 0; i < r->n_operations && r->operations[i].call < n; i++) {
    const operation *o = &r->operations[i];
    r->unit[i] = o->kind == SYNC || o->kind == MARK || is_safe(r, i, n) ? -1 : -2;
    if (!is_entry(o) || r->unit[i] == -1) continue;
    r->unit[i] = o->call == last_call ? n_units - 1 : n_units++;
    last_call = o->call;
  }
  r->entry_units = (1ul << n_units) - 1;
  r->n_units = assign_data_units(r, n, n_units);
  r->units_of = n;
  cr_assert_lt(r->n_units, 63);
}

int replay_n_units(replay *r, int n, uint64_t *entries) {
  if (r->units_of != n) assign_units(r, n);
  *entries = r->entry_units;
  return r->n_units;
}

/* ---- a state ----------------------------------------------------------------------------------------------------- */

static void apply(replay *r, const operation *o) {
  object *at = &r->objects[o->object];
  if (o->kind == SET) set_entry(at, o->name, o->child);
  if (o->kind == UNSET) unset_entry(at, o->name);
  if (o->kind == RESIZE) {
    if (o->size < at->size) memset(at->data + o->size, 0, (size_t)(at->size - o->size));
    at->size = o->size;
  }
  if (o->kind == WRITE && o->size > 0) {
    memcpy(at->data + o->offset, o->data, (size_t)o->size);
    if (o->offset + o->size > at->size) at->size = o->offset + o->size;
  }
}

static uint64_t mix(uint64_t hash, const void *data, size_t n_bytes) {
  const uint64_t parts[2] = {hash, facet_hash64(data, n_bytes)};
  return facet_hash64(parts, sizeof parts);
}

static void write_object(const object *o, const char *path) {
  FILE *stream;
  switch (o->type) {
  case DIRECTORY:
    cr_assert(mkdir(path, 0777) == 0 || access(path, W_OK) == 0, "%s", path);
    break;
  case LINK:
    cr_assert_eq(symlink(o->target, path), 0, "%s", path);
    break;
  case FILE_OBJECT:
    stream = fopen(path, "wb");
    cr_assert(stream && fwrite(o->data, 1, (size_t)o->size, stream) == (size_t)o->size && fclose(stream) == 0);
    break;
  }
}

/* Goes through everything that can be reached, in the order of names. A directory that was renamed half (its new entry is on
 * the disk, the removal of the old one is not) stands in both places. */
static uint64_t visit(const replay *r, int at, const char *path, bool writes, uint64_t hash) {
  const object *o = &r->objects[at];
  const char *previous = "";
  char inner[FACET_PATH_MAX];
  if (writes) write_object(o, path);
  hash = mix(hash, o->target, strlen(o->target));
  hash = mix(hash, o->data, (size_t)o->size);
  for (int done = 0; done < o->n_entries; done++) {
    int next = -1;
    for (int i = 0; i < o->n_entries; i++)
      if (strcmp(o->name[i], previous) > 0 && (next < 0 || strcmp(o->name[i], o->name[next]) < 0)) next = i;
    previous = o->name[next];
    snprintf(inner, sizeof inner, "%.3800s/%s", path, previous);
    hash = visit(r, o->child[next], inner, writes, mix(hash, previous, strlen(previous)));
  }
  return mix(hash, "end", 3);
}

uint64_t replay_state(replay *r, int n, uint64_t mask, const char *target) {
  uint64_t entries;
  replay_n_units(r, n, &entries);
  for (int i = 0; i < r->n_objects; i++) {
    r->objects[i].n_entries = 0;
    r->objects[i].size = 0;
    memset(r->objects[i].data, 0, (size_t)r->objects[i].capacity);
  }
  for (int i = 0; i < r->n_operations && r->operations[i].call < n; i++)
    if (r->unit[i] < 0 || (mask >> r->unit[i] & 1)) apply(r, &r->operations[i]);
  return visit(r, ROOT, target ? target : "", target != NULL, 0);
}

bool replay_is_new(replay *r, uint64_t hash) {
  for (int i = 0; i < r->n_states; i++)
    if (r->states[i] == hash) return false;
  cr_assert_lt(r->n_states, MAX_STATES);
  r->states[r->n_states++] = hash;
  return true;
}

int replay_n_states(const replay *r) {
  return r->n_states;
}
