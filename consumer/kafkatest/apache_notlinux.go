//go:build unix && !linux

package kafkatest

import "syscall"

// dieWithParent has no effect, because only Linux supports it. A killed test leaves its nodes
// running.
var dieWithParent *syscall.SysProcAttr
