#include "textflag.h"

// func markBlocks(marks, b []byte)
TEXT ·markBlocks(SB), NOSPLIT, $0-48
	MOVQ marks_base+0(FP), DI
	MOVQ b_base+24(FP), SI
	MOVQ b_len+32(FP), CX
	SHRQ $4, CX
	JEQ  done

	MOVQ       $0x2222222222222222, AX // quotes
	MOVQ       AX, X5
	PUNPCKLQDQ X5, X5
	MOVQ       $0x5c5c5c5c5c5c5c5c, AX // backslashes
	MOVQ       AX, X6
	PUNPCKLQDQ X6, X6
	MOVQ       $0x2020202020202020, AX // spaces
	MOVQ       AX, X7
	PUNPCKLQDQ X7, X7

	PCALIGN $32

loop:
	MOVOU    (SI), X0
	MOVO     X0, X1
	MOVO     X0, X2
	MOVO     X7, X3
	PCMPEQB  X5, X1 // is a quote
	PCMPEQB  X6, X2 // is a backslash
	PCMPGTB  X0, X3 // is less than a space, as a signed byte: a control character, or not ASCII
	POR      X1, X2
	POR      X2, X3
	PMOVMSKB X3, AX
	MOVW     AX, (DI)
	ADDQ     $16, SI
	ADDQ     $2, DI
	DECQ     CX
	JNE      loop

done:
	RET
