import type { Test } from 'tap'
import type { MeshNodeOptions } from '../../src/node/config.js'
import { MeshNode } from '../../src/node/mesh-node.js'
import { Cluster, type ClusterListener } from '../../src/simulation/cluster/cluster.js'
import { DEFAULT_DISK_PROFILE } from '../../src/simulation/disk/store.js'
import { DEFAULT_PROFILE } from '../../src/simulation/network/conditions.js'

/** Whole nodes in virtual time, without any fault but those that a test brings about. Nothing is started yet. */
export function calmCluster(
  t: Test,
  names: readonly string[],
  optionsOf: (server: number) => Partial<MeshNodeOptions>,
  events: Partial<ClusterListener<MeshNode>> = {},
): Cluster<MeshNode> {
  return new Cluster<MeshNode>(
    {
      seed: 1,
      names,
      network: DEFAULT_PROFILE,
      disk: DEFAULT_DISK_PROFILE,
      maxClockDrift: 0,
      maxWallOffsetMs: 0,
      record: false,
    },
    (server, environment) =>
      MeshNode.start({
        clusterId: 'test',
        serverId: names[server]!,
        secret: new Uint8Array(32),
        ...optionsOf(server),
        environment,
      }),
    {
      running: () => undefined,
      gone: () => undefined,
      startFailed: (_, error) => t.fail('a node does not start', { error }),
      stopFailed: () => undefined,
      uncaught: (_, error) => t.fail('uncaught', { error }),
      diskReplaced: () => undefined,
      diskDamaged: () => undefined,
      ...events,
    },
  )
}
