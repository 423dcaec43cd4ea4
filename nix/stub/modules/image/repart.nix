# SPDX-License-Identifier: Apache-2.0
# Its options are in options.nix.
{ }
