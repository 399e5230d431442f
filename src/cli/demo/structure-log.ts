import type { AppendFile, Disk } from '../../environment/environment.js'

export type StructureKind = 'anchor' | 'transfer'

export interface StructureOperation {
  readonly kind: StructureKind
  /** UUID, chosen by the server before it asked. */
  readonly id: string
  outcome: 'acknowledged' | 'refused' | 'unknown'
}

/**
 * What a game server itself knows of the anchors and transfers that it asked for, in a file outside the mesh's
 * data, like `OperationLog`:
 *
 *     ? anchor <id>              before the mesh is asked
 *     + anchor <id>              the mesh has said that it exists
 *     - anchor <id> NO_QUORUM    certainly not made by this call
 *
 * With no second line its outcome is unknown: the mesh said so, or the process died in between.
 */
export class StructureLog {
  private constructor(private readonly file: AppendFile) {}

  static async open(disk: Disk, path: string): Promise<StructureLog> {
    const file = await disk.openAppend(path)
    // Ends a line that the former process did not.
    if (file.size > 0) await file.append([Buffer.from('\n')], { durable: false })
    return new StructureLog(file)
  }

  intend(kind: StructureKind, id: string): Promise<void> {
    return this.write(`? ${kind} ${id}\n`)
  }

  acknowledge(kind: StructureKind, id: string): Promise<void> {
    return this.write(`+ ${kind} ${id}\n`)
  }

  refuse(kind: StructureKind, id: string, code: string): Promise<void> {
    return this.write(`- ${kind} ${id} ${code}\n`)
  }

  private write(line: string): Promise<void> {
    return this.file.append([Buffer.from(line)], { durable: false })
  }
}

const LINE = /^([?+-]) (anchor|transfer) ([0-9a-f-]{36})(?: \S+)?$/

/** Lines that were cut off by the death of their process say nothing. */
export function parseStructureLog(text: string): StructureOperation[] {
  const operations = new Map<string, StructureOperation>()
  for (const line of text.split('\n')) {
    const [, mark, kind, id] = LINE.exec(line) ?? []
    if (mark === undefined) continue
    const known = operations.get(id!)
    if (mark === '?') {
      if (!known) operations.set(id!, { kind: kind as StructureKind, id: id!, outcome: 'unknown' })
      // Asked for again under the same id.
      else if (known.outcome === 'refused') known.outcome = 'unknown'
    } else if (known) known.outcome = mark === '+' ? 'acknowledged' : 'refused'
  }
  return [...operations.values()]
}
