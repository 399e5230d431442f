/** Lines for people. With `--json` they go to stderr, so that stdout has nothing but the object. */
export class Report {
  constructor(private readonly json: boolean) {}

  line(text = ''): void {
    if (this.json) console.error(text)
    else console.log(text)
  }

  /** Aligned rows: a label and its value. */
  rows(rows: readonly (readonly [label: string, value: string])[]): void {
    const width = Math.max(...rows.map(([label]) => label.length))
    for (const [label, value] of rows) this.line(`  ${label.padEnd(width)}  ${value}`)
  }
}

export function perSecond(rate: number): string {
  return `${Math.round(rate).toLocaleString('en')}/s`
}

export function milliseconds(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 1)} ms`
}

export function rounded(value: number, digits: number): number {
  const factor = 10 ** digits
  return Math.round(value * factor) / factor
}
