/* Refusals on opening a file; see facet_hdf5_open. */
#ifndef FACET_HDF5_CHECK_H
#define FACET_HDF5_CHECK_H

#include "data/hdf5.h"

/* Walks every object of an open file. The lock is held. */
facet_status facet_hdf5_check_file(hid_t file);

#endif
