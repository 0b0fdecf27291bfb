/** The part of the global WebAssembly API used here; it comes with the DOM's types, which this code does not have. */
declare namespace WebAssembly {
  class Module {
    private readonly brand: never;
  }
  interface Memory {
    readonly buffer: ArrayBuffer;
  }
  class Instance {
    constructor(module: Module, imports: Record<string, Record<string, unknown>>);
    readonly exports: Readonly<Record<string, unknown>>;
  }
  function compile(bytes: Uint8Array): Promise<Module>;
}
