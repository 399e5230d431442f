import type { Environment } from '../../environment/environment.js'
import { readTextFile } from '../../environment/text-file.js'
import { uuidV7 } from '../../environment/uuid.js'
import type { MeshNode } from '../../node/mesh-node.js'
import { SiloMeshError } from '../../sync/errors.js'
import type { StartParams } from './messages.js'
import { parseStructureLog, type StructureKind, StructureLog } from './structure-log.js'

const MAX_LOG_BYTES = 64 * 1024 * 1024
/** Between two strong operations of one server. */
const PAUSE_MS = 120
/** Shorter than an election on a busy machine: the demo shall see refusals and unknown outcomes, too. */
const STRONG_TIMEOUT_MS = 2_000
/** How often an unknown outcome is asked for again, under the same id. */
const MAX_TRIES = 3

/** The builders of one server: one after the other they place anchors and link them with transfers. */
export class Builder {
  private building: Promise<void> | undefined
  private isResting = true

  private constructor(
    private readonly environment: Environment,
    private readonly node: MeshNode,
    private readonly log: StructureLog,
    private placed: number,
    /** Of this server, known to exist; a transfer goes from the last but one to the last. */
    private readonly anchors: string[],
  ) {}

  /** Goes on from the log that a killed process left. */
  static async open(environment: Environment, node: MeshNode, params: StartParams): Promise<Builder> {
    const { disk } = environment
    const text = (await readTextFile(disk, params.structureLog, MAX_LOG_BYTES)) ?? ''
    const asked = parseStructureLog(text).filter(({ kind }) => kind === 'anchor')
    const existing = asked.filter(({ outcome }) => outcome === 'acknowledged').map(({ id }) => id)
    const log = await StructureLog.open(disk, params.structureLog)
    return new Builder(environment, node, log, asked.length, existing)
  }

  build(): void {
    if (!this.isResting) return
    this.isResting = false
    this.building = this.run()
    // Its failure is told by `rest`, which comes in any case.
    this.building.catch(() => undefined)
  }

  async rest(): Promise<void> {
    this.isResting = true
    await this.building
  }

  private async run(): Promise<void> {
    for (let turn = 0; !this.isResting; turn++) {
      if (turn % 3 === 2 && this.anchors.length >= 2) await this.link()
      else await this.place()
      await new Promise<void>((resolve) => this.environment.scheduler.after(PAUSE_MS, resolve))
    }
  }

  private async place(): Promise<void> {
    const { serverId } = this.node.identity
    const number = ++this.placed
    const id = uuidV7(this.environment)
    const anchor = {
      id,
      // Chests of the builders' own, empty: what the players judge by is elsewhere.
      storage: `chest-${serverId}-${number}`,
      world: serverId,
      position: { x: number, y: 64, z: 0 },
    }
    const exists = await this.attempt('anchor', id, () =>
      this.node.anchors.create(anchor, { timeoutMs: STRONG_TIMEOUT_MS }),
    )
    if (exists) this.anchors.push(id)
  }

  private async link(): Promise<void> {
    const [from, to] = this.anchors.slice(-2)
    const id = uuidV7(this.environment)
    const transfer = { id, from: from!, to: to!, items: ['minecraft:cobblestone'] }
    await this.attempt('transfer', id, () =>
      this.node.transfers.create(transfer, { timeoutMs: STRONG_TIMEOUT_MS }),
    )
  }

  /** Returns whether it exists for certain. */
  private async attempt(kind: StructureKind, id: string, create: () => Promise<unknown>): Promise<boolean> {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      await this.log.intend(kind, id)
      try {
        await create()
        await this.log.acknowledge(kind, id)
        return true
      } catch (error) {
        if (!(error instanceof SiloMeshError)) throw error
        if (error.indeterminate) continue
        // Certain for this try only: an earlier one of unknown outcome may have made it, or may yet.
        if (tries === 0) await this.log.refuse(kind, id, error.code)
        return false
      }
    }
    return false
  }
}
