package kafkatest

import "syscall"

// dieWithParent makes the kernel kill a process when the thread that started it exits for any
// reason.
var dieWithParent = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
