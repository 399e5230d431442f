import type { Ora } from 'ora'
import type { CommandContext, TextSink } from '../context.js'
import { wantsColour } from '../output.js'

/** Says on stderr what is going on: a spinner on a terminal, plain lines elsewhere. */
export class ProgressReport {
  private title = ''

  private constructor(
    private readonly stderr: TextSink,
    private readonly spinner: Ora | undefined,
  ) {}

  static async create({ stderr, variables }: CommandContext): Promise<ProgressReport> {
    // A terminal may say that it has no columns (a bare pty); the spinner would divide by them.
    const isWide = stderr === process.stderr && process.stderr.isTTY && process.stderr.columns > 0
    if (!isWide) return new ProgressReport(stderr, undefined)
    // Its colours are decided when it is loaded, and it does not know NO_COLOR.
    if (!wantsColour(stderr, variables)) process.env.FORCE_COLOR = '0'
    const { default: ora } = await import('ora')
    // stdin stays alone, so that Ctrl-C is a signal as everywhere.
    return new ProgressReport(stderr, ora({ stream: process.stderr, discardStdin: false }))
  }

  begin(title: string): void {
    this.title = title
    if (this.spinner) this.spinner.start(title)
    else this.stderr.write(`  ${title}\n`)
  }

  detail(text: string): void {
    if (this.spinner) this.spinner.text = `${this.title}  ${text}`
  }

  done(text = this.title): void {
    if (this.spinner) this.spinner.succeed(text)
    else if (text !== this.title) this.stderr.write(`  ${text}\n`)
  }

  /** The current step did not end well. */
  failed(): void {
    if (this.spinner?.isSpinning) this.spinner.fail(this.title)
  }
}
