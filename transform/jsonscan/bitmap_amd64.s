#include "textflag.h"

// BITMAP sets AX to the bitmap of the 64 bytes at SI. Y5, Y6, and Y7 hold 32 quotes, backslashes,
// and spaces.
#define BITMAP \
	VMOVDQU   (SI), Y0; \
	VMOVDQU   32(SI), Y1; \
	VPCMPEQB  Y0, Y5, Y2; \
	VPCMPEQB  Y0, Y6, Y3; \
	VPCMPGTB  Y0, Y7, Y0; \ // less than a space, as a signed byte: a control character, or not ASCII
	VPOR      Y2, Y3, Y2; \
	VPOR      Y2, Y0, Y0; \
	VPMOVMSKB Y0, AX; \
	VPCMPEQB  Y1, Y5, Y2; \
	VPCMPEQB  Y1, Y6, Y3; \
	VPCMPGTB  Y1, Y7, Y1; \
	VPOR      Y2, Y3, Y2; \
	VPOR      Y2, Y1, Y1; \
	VPMOVMSKB Y1, DX; \
	SHLQ      $32, DX; \
	ORQ       DX, AX

#define FILL(c, x, y) \
	MOVL         c, AX; \
	VMOVD        AX, x; \
	VPBROADCASTB x, y

// func bitmapVector(bitmap, b []byte)
TEXT ·bitmapVector(SB), NOSPLIT, $0-48
	MOVQ bitmap_base+0(FP), DI
	MOVQ b_base+24(FP), SI
	MOVQ b_len+32(FP), BX
	FILL($0x22, X5, Y5)
	FILL($0x5c, X6, Y6)
	FILL($0x20, X7, Y7)
	MOVQ BX, CX
	SHRQ $6, CX

loop:
	BITMAP
	MOVQ AX, (DI)
	ADDQ $64, SI
	ADDQ $8, DI
	DECQ CX
	JNE  loop

	// The rest is the bitmap of the last 64 bytes, shifted so that ones take the place of the bytes
	// past the end. The shift is by 64-len%64, which is 1 to 64, in two steps because SHRQ shifts
	// by at most 63.
	MOVQ BX, CX
	NOTQ CX
	ANDQ $63, CX
	ANDQ $63, BX
	LEAQ -64(SI)(BX*1), SI
	BITMAP
	NOTQ AX
	SHRQ CX, AX
	SHRQ $1, AX
	NOTQ AX
	MOVQ AX, (DI)
	VZEROUPPER
	RET
