# SPDX-License-Identifier: Apache-2.0
# lvm.conf(5). lvm2 is in the image for the device mapper's udev rules alone: it activates nothing on an attached disk.
''
  global/event_activation = 0
  activation/auto_activation_volume_list = [ ]
''
