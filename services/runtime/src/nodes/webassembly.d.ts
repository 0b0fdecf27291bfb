/** More of the global WebAssembly API, used by nodes of WebAssembly; it comes with the DOM's types, which this code does not have. */
declare namespace WebAssembly {
  const Memory: new (limits: { readonly initial: number; readonly maximum: number }) => Memory;
  class RuntimeError extends Error {}
  namespace Module {
    function imports(module: Module): { module: string; name: string; kind: string }[];
    function exports(module: Module): { name: string; kind: string }[];
  }
}
