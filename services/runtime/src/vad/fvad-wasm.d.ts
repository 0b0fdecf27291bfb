declare module "@echogarden/fvad-wasm" {
  const create: () => Promise<unknown>;
  // biome-ignore lint/style/noDefaultExport: this is how the package exports it
  export default create;
}
