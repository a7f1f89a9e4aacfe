import {hashKey, type QueryKey, useQueryClient} from '@tanstack/react-query'
import {connect} from 'pgbell'
import {useEffect, useSyncExternalStore} from 'react'

// All tabs of this user share one stream. Where users sign in, the key is the user's id.
export const bell = connect('/events', {key: 'everybody'})

/** useRefetch has a query fetched again whenever scope has changed, or may have. */
export function useRefetch(scope: string, queryKey: QueryKey) {
  const client = useQueryClient()
  useEffect(() => {
    const filters = {queryKey, exact: true}
    return bell.on(scope, async () => {
      // A fetch that is under way may have read the rows before they changed: another follows it.
      if (client.isFetching(filters)) await client.refetchQueries(filters, {cancelRefetch: false})
      await client.invalidateQueries(filters, {throwOnError: true}) // if it fails, the bell rings again
    })
  }, [client, scope, hashKey(queryKey)])
}

/** useBellStatus is for a sign on the page that says whether it is live. */
export function useBellStatus() {
  return useSyncExternalStore(subscribe, () => bell.status)
}

const watching = new Set<() => void>()
bell.onstatus = () => watching.forEach((changed) => changed())

function subscribe(changed: () => void) {
  watching.add(changed)
  return () => void watching.delete(changed)
}
