// Stubs that count a call and jump to the real function, whatever its signature: they keep every register in which an
// argument may lie, leave no frame behind (an exception passes as if they were not there) and know nothing of types, so
// printf and open need no variadic wrapper. 256 of them, each VCC_STUB_BYTES long; the index is the place in the table.

#if defined(__x86_64__)

        .text
        .hidden vcc_stubs
        .globl  vcc_stubs
        .type   vcc_stubs, @object
        .p2align 4
vcc_stubs:
        .set    index, 0
        .rept   256
        .p2align 4
        endbr64
        movl    $index, %r11d
        jmp     vcc_stub_body
        .set    index, index + 1
        .endr
        .p2align 4
        .size   vcc_stubs, . - vcc_stubs

        .type   vcc_stub_body, @function
vcc_stub_body:
        .cfi_startproc
        pushq   %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset %rbp, -16
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp
        subq    $192, %rsp
        movq    %rdi, -8(%rbp)
        movq    %rsi, -16(%rbp)
        movq    %rdx, -24(%rbp)
        movq    %rcx, -32(%rbp)
        movq    %r8, -40(%rbp)
        movq    %r9, -48(%rbp)
        movq    %rax, -56(%rbp)         // the number of vector registers that a variadic call uses
        movq    %r10, -64(%rbp)
        movaps  %xmm0, -80(%rbp)
        movaps  %xmm1, -96(%rbp)
        movaps  %xmm2, -112(%rbp)
        movaps  %xmm3, -128(%rbp)
        movaps  %xmm4, -144(%rbp)
        movaps  %xmm5, -160(%rbp)
        movaps  %xmm6, -176(%rbp)
        movaps  %xmm7, -192(%rbp)
        movl    %r11d, %edi
        movq    8(%rbp), %rsi
        call    vcc_watch_note
        movq    %rax, %r11
        movaps  -80(%rbp), %xmm0
        movaps  -96(%rbp), %xmm1
        movaps  -112(%rbp), %xmm2
        movaps  -128(%rbp), %xmm3
        movaps  -144(%rbp), %xmm4
        movaps  -160(%rbp), %xmm5
        movaps  -176(%rbp), %xmm6
        movaps  -192(%rbp), %xmm7
        movq    -64(%rbp), %r10
        movq    -56(%rbp), %rax
        movq    -48(%rbp), %r9
        movq    -40(%rbp), %r8
        movq    -32(%rbp), %rcx
        movq    -24(%rbp), %rdx
        movq    -16(%rbp), %rsi
        movq    -8(%rbp), %rdi
        leave
        .cfi_def_cfa %rsp, 8
        jmp     *%r11
        .cfi_endproc
        .size   vcc_stub_body, . - vcc_stub_body

#elif defined(__aarch64__)

        .text
        .hidden vcc_stubs
        .globl  vcc_stubs
        .type   vcc_stubs, %object
        .p2align 4
vcc_stubs:
        .set    index, 0
        .rept   256
        .p2align 4
        hint    #34                     // bti c
        movz    w16, #index
        b       vcc_stub_body
        .set    index, index + 1
        .endr
        .p2align 4
        .size   vcc_stubs, . - vcc_stubs

        .type   vcc_stub_body, %function
vcc_stub_body:
        .cfi_startproc
        stp     x29, x30, [sp, #-224]!
        .cfi_def_cfa_offset 224
        .cfi_offset x29, -224
        .cfi_offset x30, -216
        mov     x29, sp
        stp     x0, x1, [sp, #16]
        stp     x2, x3, [sp, #32]
        stp     x4, x5, [sp, #48]
        stp     x6, x7, [sp, #64]
        str     x8, [sp, #80]
        stp     q0, q1, [sp, #96]
        stp     q2, q3, [sp, #128]
        stp     q4, q5, [sp, #160]
        stp     q6, q7, [sp, #192]
        mov     w0, w16
        mov     x1, x30
        bl      vcc_watch_note
        mov     x16, x0
        ldp     q0, q1, [sp, #96]
        ldp     q2, q3, [sp, #128]
        ldp     q4, q5, [sp, #160]
        ldp     q6, q7, [sp, #192]
        ldr     x8, [sp, #80]
        ldp     x6, x7, [sp, #64]
        ldp     x4, x5, [sp, #48]
        ldp     x2, x3, [sp, #32]
        ldp     x0, x1, [sp, #16]
        ldp     x29, x30, [sp], #224
        .cfi_def_cfa_offset 0
        .cfi_restore x29
        .cfi_restore x30
        br      x16
        .cfi_endproc
        .size   vcc_stub_body, . - vcc_stub_body

#else
#error "the stubs are written for x86-64 and arm64"
#endif

        .section .note.GNU-stack, "", %progbits
