/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A boot report as metrics, in Prometheus's text format, version 0.0.4, which the textfile collector of its
 * node_exporter reads. Names and units follow OpenMetrics: base units, in the name. */

#include <json-c/json.h>

/* The text; NULL: out of memory. A report may say anything: members that are missing or of another type are left out,
 * and values are quoted. */
char *metrics_of_report(json_object *report);
