/* The generated tables: a file in host/ops, models or host/cli is an entry (CMakeLists.txt). Each ends with NULL. */
#ifndef FACET_REGISTRY_H
#define FACET_REGISTRY_H

#include "facet/command.h"
#include "facet/model.h"
#include "facet/op.h"

extern const facet_model *const facet_registry_models[];
extern const facet_command *const facet_registry_commands[];

#endif
