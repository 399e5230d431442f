import {
  type ConflictResolver,
  earlierTimeResolver,
  lowerIdResolver,
  manualResolver,
} from '../../conflict/resolver.js'

export type ResolverChoice = 'lower-id' | 'earlier-time' | 'manual' | 'throws' | 'selfish'

export const RESOLVERS: Readonly<Record<ResolverChoice, ConflictResolver>> = {
  'lower-id': lowerIdResolver,
  'earlier-time': earlierTimeResolver,
  manual: manualResolver(),
  throws: {
    resolve: () => {
      throw new Error('a resolver that throws')
    },
    requiresManualResolution: () => {
      throw new Error('a resolver that throws')
    },
  },
  /** Always takes the opposite side: no two servers with different ones ever agree. */
  selfish: {
    resolve: (local, remote) => (local.id > remote.id ? local : remote),
    requiresManualResolution: () => false,
  },
}
