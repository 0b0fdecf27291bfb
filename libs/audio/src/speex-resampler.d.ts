declare module "@echogarden/speex-resampler-wasm/simd" {
  const create: () => Promise<unknown>;
  // biome-ignore lint/style/noDefaultExport: this is how the package exports it
  export default create;
}
