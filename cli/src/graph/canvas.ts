/** Characters on a grid; lines that meet become corners, tees and crossings. */

const up = 1;
const right = 2;
const down = 4;
const left = 8;
const joints = " ╵╶└╷│┌├╴┘─┴┐┤┬┼";

export class Canvas {
  readonly #lines = new Map<string, number>();
  readonly #texts = new Map<string, string>();
  #width = 0;
  #height = 0;

  get width(): number {
    return this.#width;
  }

  text(x: number, y: number, text: string): void {
    for (const [i, char] of [...text].entries()) {
      this.#texts.set(`${x + i},${y}`, char);
      this.#grow(x + i, y);
    }
  }

  vertical(x: number, from: number, to: number): void {
    for (let y = from; y < to; y++) {
      this.#join(x, y, down);
      this.#join(x, y + 1, up);
    }
  }

  horizontal(y: number, from: number, to: number): void {
    for (let x = Math.min(from, to); x < Math.max(from, to); x++) {
      this.#join(x, y, right);
      this.#join(x + 1, y, left);
    }
  }

  box(x: number, y: number, width: number, height: number): void {
    this.horizontal(y, x, x + width - 1);
    this.horizontal(y + height - 1, x, x + width - 1);
    this.vertical(x, y, y + height - 1);
    this.vertical(x + width - 1, y, y + height - 1);
  }

  rows(): string[] {
    return Array.from({ length: this.#height }, (_, y) => {
      let row = "";
      for (let x = 0; x < this.#width; x++) {
        row += this.#texts.get(`${x},${y}`) ?? joints[this.#lines.get(`${x},${y}`) ?? 0] ?? " ";
      }
      return row.trimEnd();
    });
  }

  #join(x: number, y: number, sides: number): void {
    const key = `${x},${y}`;
    this.#lines.set(key, (this.#lines.get(key) ?? 0) | sides);
    this.#grow(x, y);
  }

  #grow(x: number, y: number): void {
    this.#width = Math.max(this.#width, x + 1);
    this.#height = Math.max(this.#height, y + 1);
  }
}
