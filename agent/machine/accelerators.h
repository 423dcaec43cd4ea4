/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which accelerators a machine has, and the device nodes that the user space of their drivers opens. Everything is read
 * below `root`, which is "" on a machine. Functions return 0 or a negative errno. */

#include "basic/macros.h"

struct accelerators {
        unsigned gpus;     /* NVIDIA GPUs */
        unsigned switches; /* NVSwitches, which connect the GPUs of p4d and p5 instances */
        unsigned neurons;  /* AWS Inferentia and Trainium */
};

/* Counts them by the identifiers of /sys/bus/pci/devices. -EBADMSG: an entry there is not as Linux writes it. */
int accelerators_find(const char *root, struct accelerators *ret);

/* Where the Neuron driver lists the devices that it has started. */
#define NEURON_CLASS "/sys/class/neuron_device"

struct device_node {
        char name[32]; /* below /dev */
        unsigned major, minor;
};

enum {
        NODES_MAX = 128, /* more than any instance has */
        NVIDIA_MAJOR = 195,
};

/* The nodes of the loaded driver: nvidiactl, nvidia-uvm and nvidia-uvm-tools, one for each GPU that the driver lists,
 * and those of the NVSwitches. -ENODEV: the driver lists no GPU, or has no number for nvidia-uvm. -EBADMSG: a file is
 * not as the driver writes it. -ENOBUFS: more than `max`. */
int nvidia_nodes(const char *root, struct device_node *nodes, size_t max, size_t *ret_n);

/* How many of these nodes are a GPU's. */
unsigned nvidia_gpus(const struct device_node *nodes, size_t n);

/* The nodes of the loaded Neuron driver: one for each device that it started, so none if it started none. -EBADMSG: the
 * kernel's list of them is not as the driver makes it. -ENOBUFS: more than `max`. */
int neuron_nodes(const char *root, struct device_node *nodes, size_t max, size_t *ret_n);
