package kafkatest

import "syscall"

// dieWithParent has the kernel kill a process when the thread that started it ends, however that
// ends.
var dieWithParent = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
