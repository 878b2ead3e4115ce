/// What owners publish (Docs/Decisions/0028-what-is-published-goes-as-an-advert.md).
extension Limits {
    package static let publicationBytes = 3_584
    package static let publicationsPerOwner = 32
    package static let publishedPools = 256
}
