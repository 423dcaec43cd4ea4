# SPDX-License-Identifier: Apache-2.0
# lvm.conf(5). The image has lvm2 only for the device mapper's udev rules: lvm2 activates nothing on an attached disk.
''
  global/event_activation = 0
  activation/auto_activation_volume_list = [ ]
''
