;; Twice as loud, clipped. Built by `npx wat2wasm node.wat -o node.wasm`; the interface is `rspp_node/1`, docs/nodes.md.
(module
  (import "env" "memory" (memory 2))
  (import "rspp" "emit_audio" (func $emit_audio (param i32 i32 i32)))

  ;; One event at a time, so one place for its bytes is enough: from the second page on.
  (func (export "alloc") (param $length i32) (result i32)
    (local $missing i32)
    (local.set $missing
      (i32.sub (i32.add (i32.const 65536) (local.get $length)) (i32.mul (memory.size) (i32.const 65536))))
    (if (i32.gt_s (local.get $missing) (i32.const 0))
      (then
        (if (i32.eq (i32.const -1)
              (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get $missing) (i32.const 16)))))
          (then (unreachable)))))
    (i32.const 65536))

  (func $twice (param $sample i32) (result i32)
    (local.set $sample (i32.mul (local.get $sample) (i32.const 2)))
    (if (i32.gt_s (local.get $sample) (i32.const 32767)) (then (return (i32.const 32767))))
    (if (i32.lt_s (local.get $sample) (i32.const -32768)) (then (return (i32.const -32768))))
    (local.get $sample))

  (func (export "on_event") (param $port i32) (param $kind i32) (param $at i32) (param $length i32) (result i32)
    (local $here i32)
    (local $end i32)
    (if (i32.ne (local.get $kind) (i32.const 2)) (then (return (i32.const 0))))
    (local.set $here (local.get $at))
    (local.set $end (i32.add (local.get $at) (i32.and (local.get $length) (i32.const -2))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $here) (local.get $end)))
        (i32.store16 (local.get $here) (call $twice (i32.load16_s (local.get $here))))
        (local.set $here (i32.add (local.get $here) (i32.const 2)))
        (br $next)))
    (call $emit_audio (i32.const 0) (local.get $at) (local.get $length))
    (i32.const 0)))
