/* facet devices: what this machine offers. */
#include <stdio.h>

#include "facet/arguments.h"
#include "facet/backend.h"
#include "facet/command.h"
#include "facet/log.h"

static const facet_argument table[] = {{0}};

static facet_status print_device(const char *name) {
  facet_device *device = NULL;
  facet_device_info info;
  FACET_TRY(facet_device_open(name, &device));
  facet_status status = device->backend->query(device, &info);
  facet_device_close(&device);
  if (status != FACET_OK) return status;
  printf("%-8s %s, %s of memory\n", name, info.name, facet_format_bytes((double)info.memory_bytes));
  return FACET_OK;
}

static facet_status run(int argc, char **argv) {
  char nothing;
  FACET_TRY(facet_arguments_parse(table, argc, argv, &nothing));
  FACET_TRY(print_device("cpu"));
  if (print_device("cuda") != FACET_OK) {
    printf("%-8s not available: %s\n", "cuda", facet_error_get()->message);
    facet_error_clear();
  }
  return FACET_OK;
}

const facet_command facet_command_devices = {
    .name = "devices", .usage = "facet devices", .summary = "lists the devices of this machine", .run = run};
