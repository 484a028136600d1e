/* facet inspect of a run directory. See inspect.h. */
#include <math.h>
#include <string.h>

#include "facet/file.h"
#include "facet/log.h"
#include "train/checkpoint_internal.h"
#include "train/inspect.h"

typedef struct report {
  const facet_inspect_request *request;
  facet_arena *arena;
  char **paths; /* [n] of the checkpoints, the newest first */
  int64_t n;
  bool has_newest; /* the newest checkpoint that can be read */
  facet_train_state newest;
  facet_error fault; /* of the first checkpoint that cannot be read; status FACET_OK: none */
} report;

static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

static facet_status verify(const report *r) {
  for (int64_t i = r->n - 1; i >= 0; i--) {
    FACET_TRY(facet_checkpoint_verify(r->paths[i]));
    inspect_ok(r->request->out, base_name(r->paths[i]), "sizes and checksums agree");
  }
  inspect_field(r->request->out, "verified", "%s, no fault\n", inspect_plural(r->n, "checkpoint"));
  return FACET_OK;
}

/* ---- checkpoints ----------------------------------------------------------------------------------------------- */

static facet_status read_state(const char *directory, facet_train_state *state) {
  char path[FACET_PATH_MAX];
  hid_t file;
  FACET_TRY(checkpoint_read_seconds(directory, &state->train_seconds));
  FACET_TRY(facet_path_format(path, "%s/model.h5", directory));
  FACET_TRY(facet_hdf5_open(path, &file));
  facet_status status = facet_hdf5_check_format(file, "checkpoint", CHECKPOINT_VERSION);
  if (status == FACET_OK) status = checkpoint_read_state(file, state);
  facet_hdf5_discard(&file);
  return status;
}

static const char *mark_of(const report *r, const char *path, bool is_newest) {
  char best[FACET_PATH_MAX];
  const int64_t step = checkpoint_best_step(r->request->path);
  const bool is_best =
      step >= 0 && checkpoint_step_path(best, r->request->path, step) == FACET_OK && strcmp(best, path) == 0;
  return is_best && is_newest ? "newest, best" : is_best ? "best" : is_newest ? "newest" : "";
}

static facet_status add_state(report *r, const facet_train_state *state, const char *path, inspect_grid *grid) {
  const bool is_newest = !r->has_newest;
  FACET_TRY(inspect_cell(grid, "%s", inspect_count(state->step)));
  FACET_TRY(inspect_cell(grid, "%s", inspect_count(state->epoch)));
  FACET_TRY(inspect_cell(grid, "%s", inspect_count(state->samples)));
  if (isfinite(state->best_metric))
    FACET_TRY(inspect_cell(grid, "%.6f", state->best_metric));
  else
    FACET_TRY(inspect_cell(grid, "none"));
  FACET_TRY(inspect_cell(grid, "%s", facet_format_bytes((double)inspect_file_bytes(path))));
  FACET_TRY(inspect_cell(grid, "%s", mark_of(r, path, is_newest)));
  if (is_newest) r->newest = *state;
  r->has_newest = true;
  return FACET_OK;
}

/* A checkpoint that cannot be read has a row too; its error is kept for the end. */
static facet_status add_checkpoint(report *r, const char *path, inspect_grid *grid) {
  facet_train_state state;
  const facet_status status = read_state(path, &state);
  FACET_TRY(inspect_cell(grid, "%s", base_name(path)));
  if (status == FACET_OK) return add_state(r, &state, path, grid);
  if (r->fault.status == FACET_OK) r->fault = *facet_error_get();
  for (int c = 0; c < 4; c++) FACET_TRY(inspect_cell(grid, "%s", ""));
  FACET_TRY(inspect_cell(grid, "%s", facet_format_bytes((double)inspect_file_bytes(path))));
  return inspect_cell(grid, "unreadable");
}

/* ---- summary --------------------------------------------------------------------------------------------------- */

static facet_status print_status(const report *r) {
  char path[FACET_PATH_MAX], holder[256];
  bool is_live;
  FACET_TRY(facet_path_format(path, "%s/.lock", r->request->path));
  FACET_TRY(facet_lock_query(path, &is_live, holder, sizeof holder));
  if (is_live)
    inspect_field(r->request->out, "status", "in use by a live run: %s", holder);
  else if (!r->has_newest)
    inspect_field(r->request->out, "status", "no checkpoint, no live run");
  else
    inspect_field(r->request->out, "status", "%s at step %s, after %.1f s of training; no live run",
                  r->newest.finished ? "finished" : "stopped, not finished,", inspect_count(r->newest.step),
                  r->newest.train_seconds);
  return FACET_OK;
}

static facet_status print_title(const report *r) {
  char model[128], data[FACET_PATH_MAX], monitor[128];
  const char *path = r->request->path;
  FACET_TRY(inspect_config_value(path, "model", "name", model, sizeof model));
  FACET_TRY(inspect_config_value(path, "data", "path", data, sizeof data));
  FACET_TRY(inspect_config_value(path, "train", "monitor", monitor, sizeof monitor));
  inspect_field(r->request->out, "run", "%s", path);
  inspect_field(r->request->out, "model", "%s", model);
  inspect_field(r->request->out, "data", "%s", data);
  FACET_TRY(print_status(r));
  if (r->has_newest && isfinite(r->newest.best_metric))
    inspect_field(r->request->out, "best", "%s %.6f at step %s", monitor, r->newest.best_metric,
                  inspect_count(r->newest.best_step));
  return FACET_OK;
}

static facet_status print_run(report *r) {
  static const char *const titles[] = {"checkpoint", ">step", ">epochs", ">samples", ">best so far", ">size", ""};
  inspect_grid *grid;
  facet_status status = FACET_OK;
  FACET_TRY(inspect_grid_create(sizeof titles / sizeof *titles, titles, 0, &grid));
  for (int64_t i = 0; i < r->n; i++) FACET_TRY_GOTO(status, done, add_checkpoint(r, r->paths[i], grid));
  FACET_TRY_GOTO(status, done, print_title(r));
  if (r->n > 0) fputc('\n', r->request->out);
  inspect_grid_print(grid, r->request->out);
  if (r->fault.status != FACET_OK) status = facet_error_restore(&r->fault);
done:
  inspect_grid_destroy(&grid);
  return status;
}

facet_status facet_inspect_run(const facet_inspect_request *request) {
  report r = {.request = request};
  facet_status status;
  FACET_TRY_GOTO(status, done, facet_arena_create(&r.arena));
  FACET_TRY_GOTO(status, done, checkpoint_list(request->path, r.arena, &r.paths, &r.n));
  if (request->verify) FACET_TRY_GOTO(status, done, verify(&r));
  status = print_run(&r);
done:
  facet_arena_destroy(&r.arena);
  return status;
}
