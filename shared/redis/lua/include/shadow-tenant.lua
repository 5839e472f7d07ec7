-- Gives the tenant of copies for a shadow, the SHADOW_TENANT of shared/contract/job.ts.

local SHADOW_TENANT = '~shadow'
