/// Where a request may go: the providers that a name means for one caller, and the model id their workers know.
package struct Route: Hashable, Sendable {
    package var providers: [CatalogProvider]
    /// Empty when the request names none.
    package var model: String

    package init(providers: [CatalogProvider], model: String) {
        self.providers = providers
        self.model = model
    }
}
