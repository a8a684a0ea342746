//go:build unix && !linux

package kafkatest

import "syscall"

// dieWithParent is nil, because only Linux can kill a child process when its parent exits. On other
// systems, the nodes of a killed test keep running.
var dieWithParent *syscall.SysProcAttr
