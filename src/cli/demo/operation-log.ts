import type { AppendFile, Disk } from '../../environment/environment.js'
import type { OperationKind, PlannedOperation } from './players.js'

/**
 * What a game server itself knows of its operations, in a file of its own, outside the mesh's data: the
 * witness against which the demo judges the mesh. One line each, in this order:
 *
 *     ? 17 deposit quarry minecraft:stone 3     before the operation is given to the mesh
 *     ~ 17 <withdrawal id>                      a provisional withdrawal, durable and not settled yet
 *     + 17                                      after its receipt has said that it is durable (and settled,
 *                                               where a withdrawal was provisional)
 *     - 17 INSUFFICIENT_QUANTITY                refused, or compensated: the items are where they were
 *
 * An operation with no second line is *unknown*: the process died in between. A SIGKILL takes nothing from the
 * file: what was written is the kernel's. (A power cut would; the demo makes none.)
 */
export class OperationLog {
  /** The file takes one write at a time. */
  private last: Promise<void> = Promise.resolve()

  private constructor(
    private readonly file: AppendFile,
    private lastId: number,
  ) {}

  /** Opens for appending; ids go on above `lastId`. */
  static async open(disk: Disk, path: string, lastId: number): Promise<OperationLog> {
    const file = await disk.openAppend(path)
    // Ends a line that the former process did not.
    if (file.size > 0) await file.append([Buffer.from('\n')], { durable: false })
    return new OperationLog(file, lastId)
  }

  /** Resolves when the lines are the kernel's: only now may the operations be given to the mesh. */
  async intend(operations: readonly PlannedOperation[]): Promise<number[]> {
    const ids = operations.map(() => ++this.lastId)
    const lines = operations.map(
      ({ kind, storage, item, amount }, index) => `? ${ids[index]} ${kind} ${storage} ${item} ${amount}\n`,
    )
    await this.write(lines)
    return ids
  }

  async settle(outcomes: readonly { readonly id: number; readonly refusal?: string }[]): Promise<void> {
    await this.write(
      outcomes.map(({ id, refusal }) => (refusal === undefined ? `+ ${id}\n` : `- ${id} ${refusal}\n`)),
    )
  }

  /** A withdrawal that stands for now; its second line comes when it has settled. */
  provisional(id: number, withdrawalId: string): Promise<void> {
    return this.write([`~ ${id} ${withdrawalId}\n`])
  }

  async close(): Promise<void> {
    await this.last
    await this.file.close()
  }

  private write(lines: readonly string[]): Promise<void> {
    if (lines.length === 0) return Promise.resolve()
    const write = () => this.file.append([Buffer.from(lines.join(''))], { durable: false })
    const written = this.last.then(write)
    // A failure is its caller's; the next write tries for itself.
    this.last = written.catch(() => undefined)
    return written
  }
}

export type Outcome = 'acknowledged' | 'refused' | 'unknown'

export interface LoggedOperation extends PlannedOperation {
  readonly id: number
  outcome: Outcome
  /** Of a withdrawal that was provisional. */
  withdrawalId?: string
}

const INTENT = /^\? (\d+) (deposit|withdraw) (\S+) (\S+) (\d+)$/
const PROVISIONAL = /^~ (\d+) ([0-9a-f-]{36})$/
const SETTLED = /^([+-]) (\d+)(?: \S+)?$/

/** Lines that were cut off by the death of their process say nothing. */
export function parseOperationLog(text: string): LoggedOperation[] {
  const operations = new Map<number, LoggedOperation>()
  for (const line of text.split('\n')) {
    const intent = INTENT.exec(line)
    if (intent) {
      const id = Number(intent[1])
      const [, , kind, storage, item, amount] = intent
      operations.set(id, {
        id,
        kind: kind as OperationKind,
        storage: storage!,
        item: item!,
        amount: Number(amount),
        outcome: 'unknown',
      })
      continue
    }
    const provisional = PROVISIONAL.exec(line)
    const made = provisional && operations.get(Number(provisional[1]))
    if (made) made.withdrawalId = provisional[2]!
    const settled = SETTLED.exec(line)
    const operation = settled && operations.get(Number(settled[2]))
    if (operation) operation.outcome = settled[1] === '+' ? 'acknowledged' : 'refused'
  }
  return [...operations.values()]
}
