/* Devices by name. */
#include <string.h>

#include "facet/backend.h"

facet_status facet_device_open(const char *name, facet_device **device) {
  if (strcmp(name, "cpu") == 0) return facet_backend_cpu.open(0, device);
  FACET_CHECK(strncmp(name, "cuda", 4) == 0 && (name[4] == '\0' || name[4] == ':'), FACET_ERROR_USAGE,
              "device \"%s\": expected cpu, cuda or cuda:<index>", name);
  FACET_FAIL(FACET_ERROR_DEVICE, "device \"%s\": there is no CUDA backend yet; use the device cpu", name);
}

void facet_device_close(facet_device **device) {
  if (*device) (*device)->backend->close(device);
}

facet_status facet_device_set_precision(facet_device *device, facet_precision precision) {
  FACET_TRY(device->backend->check_precision(device, precision));
  device->precision = precision;
  return FACET_OK;
}
