const firstBytes = 1_024;
/** A buffer that one long line has made large is not kept. */
const keptBytes = 16_384;
const longString = 24;
const quote = 0x22;
const backslash = 0x5c;
const newline = 0x0a;
const space = 0x20;
const nothing = Buffer.alloc(0);
const billion = 1e9;

/**
 * Lines of one group record as they will be written, `tag json` each, in one buffer that is used again. A frame makes two
 * lines every 20 ms, so digits and plain text are put into it without a string in between.
 */
export class LineBuffer {
  /** Bytes so far, and whole lines. */
  size = 0;
  count = 0;
  private bytes: Buffer = nothing;
  private start = 0;

  /** What was written so far; valid until the next write. */
  view(): Buffer {
    return this.bytes.subarray(0, this.size);
  }

  begin(tag: string): void {
    this.start = this.size;
    this.ensure(1);
    if (this.count > 0) this.bytes[this.size++] = newline;
    this.ascii(tag);
    this.byte(space);
  }

  /** @returns bytes that the line took. */
  end(): number {
    this.count += 1;
    return this.size - this.start;
  }

  /** Takes back the line that was begun. */
  rollback(): void {
    this.size = this.start;
  }

  clear(): void {
    this.size = 0;
    this.count = 0;
    if (this.bytes.length > keptBytes) this.bytes = nothing;
  }

  byte(value: number): void {
    this.ensure(1);
    this.bytes[this.size++] = value;
  }

  /** Text of one byte a character. */
  ascii(text: string): void {
    this.ensure(text.length);
    if (text.length > longString) {
      this.size += this.bytes.write(text, this.size, text.length, "latin1");
      return;
    }
    for (let i = 0; i < text.length; i++) this.bytes[this.size++] = text.charCodeAt(i);
  }

  utf8(text: string): void {
    this.ensure(text.length * 3);
    this.size += this.bytes.write(text, this.size, text.length * 3, "utf8");
  }

  /** As JSON would write it. */
  string(text: string): void {
    if (!isPlain(text)) return this.utf8(JSON.stringify(text));
    this.byte(quote);
    this.ascii(text);
    this.byte(quote);
  }

  /** A finite number as JSON would write it. */
  number(n: number): void {
    if (n >= 0 && n <= 0x7fffffff && (n | 0) === n) return this.digits(n | 0, digitsOf(n | 0));
    if (!(n >= 0 && Number.isSafeInteger(n))) return this.ascii(String(n));
    const high = Math.floor(n / billion);
    this.digits(high, digitsOf(high));
    this.digits(n - high * billion, 9);
  }

  private digits(n: number, count: number): void {
    this.ensure(count);
    let rest = n;
    for (let at = this.size + count - 1; at >= this.size; at--) {
      const tenth = (rest / 10) | 0;
      this.bytes[at] = 0x30 + rest - tenth * 10;
      rest = tenth;
    }
    this.size += count;
  }

  private ensure(more: number): void {
    if (this.size + more <= this.bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(firstBytes, 2 * this.bytes.length, this.size + more));
    this.bytes.copy(grown, 0, 0, this.size);
    this.bytes = grown;
  }
}

function digitsOf(n: number): number {
  let count = 1;
  for (let rest = n; rest >= 10; rest = (rest / 10) | 0) count += 1;
  return count;
}

function isPlain(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < space || code > 0x7e || code === quote || code === backslash) return false;
  }
  return true;
}
