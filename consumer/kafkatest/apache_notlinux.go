//go:build unix && !linux

package kafkatest

import "syscall"

// dieWithParent does nothing here: only Linux can. A killed test leaves its nodes running.
var dieWithParent *syscall.SysProcAttr
